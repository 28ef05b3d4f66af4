//! One child process with everything that it starts: spawned in a process group of its own with a
//! clean environment, ended as a whole. On Linux a guard process (see `guard.rs`) stands between, so
//! that nothing survives even a SIGKILL of the orchestrator; on Windows a job object does the same.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{ConnectError, environment, stderr::StderrTail};
use crate::config::StdioConfig;

/// A running child. Its stdin and stdout are the transport's; closing stdin asks it to end.
pub(super) struct Process {
    server: String,
    child: Child,
    /// Process id of the group's leader: the guard where there is one, else the child.
    #[cfg(unix)]
    leader: Option<u32>,
    guarded: bool,
    ended: bool,
    stderr: StderrTail,
    /// Ends all processes in it when its last handle closes, whoever closes it.
    #[cfg(windows)]
    job: Option<win32job::Job>,
}

impl Process {
    /// Starts the program of `config`. `guard` is the orchestrator's own executable.
    pub(super) fn spawn(
        server: &str,
        config: &StdioConfig,
        guard: Option<&Path>,
        grace: Duration,
    ) -> Result<(Self, ChildStdout, ChildStdin), ConnectError> {
        let environment = environment::for_child(std::env::vars_os(), &config.env);
        if let Some(cwd) = &config.cwd
            && !cwd.is_dir()
        {
            return Err(ConnectError::WorkingDirectory { server: server.to_owned(), cwd: cwd.clone() });
        }
        let program =
            find_program(&config.command, config.cwd.as_deref(), &environment).ok_or_else(|| {
                ConnectError::ProgramNotFound { server: server.to_owned(), command: config.command.clone() }
            })?;

        let mut command = command(&program, &config.args, guard, grace);
        command
            .env_clear()
            .envs(&environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(cwd) = &config.cwd {
            command.current_dir(cwd);
        }
        #[cfg(unix)]
        command.process_group(0);

        let failed = |source| ConnectError::Spawn {
            server: server.to_owned(),
            command: config.command.clone(),
            source,
        };
        let mut child = spawn(&mut command).map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(std::io::Error::other("its pipes could not be opened")));
        };
        #[cfg(windows)]
        let job = job_of(server, &child);
        let tail = StderrTail::default();
        tokio::spawn(tail.clone().drain(server.to_owned(), stderr));
        let process = Self {
            server: server.to_owned(),
            #[cfg(unix)]
            leader: child.id(),
            child,
            guarded: guard.is_some() && cfg!(target_os = "linux"),
            ended: false,
            stderr: tail,
            #[cfg(windows)]
            job,
        };
        Ok((process, stdout, stdin))
    }

    /// Process id of the group's leader, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The last lines on stderr.
    pub(super) fn stderr(&self) -> StderrTail {
        self.stderr.clone()
    }

    /// Ends the child and everything it started. Its stdin must be closed before: `grace` is the
    /// time it has to end by itself, and again the time after SIGTERM, before SIGKILL.
    pub(super) async fn stop(mut self, grace: Duration) -> Option<ExitStatus> {
        let status = self.wait_in_steps(grace).await;
        // A child that ended in time may have left others of its group behind.
        self.kill_group();
        self.ended = true;
        #[cfg(target_os = "linux")]
        self.sweep_after(status).await;
        // What it wrote last tells why it ended.
        self.stderr.wait_for_the_end().await;
        status
    }

    /// Returns when the child, or the guard before it, has ended. May be dropped and called again.
    pub(super) async fn exited(&mut self) {
        self.child.wait().await.ok();
    }

    /// Runs `work`. A process that ends meanwhile is waited for at once, so that it does not stay dead
    /// in the table of processes until [`Self::stop`].
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = self.exited() => {}
        }
        work.await
    }

    /// A guard ends by itself; one that was killed has left all others to us.
    #[cfg(target_os = "linux")]
    async fn sweep_after(&self, status: Option<ExitStatus>) {
        use std::os::unix::process::ExitStatusExt;
        if let Some(leader) = self.leader {
            super::orphans::disown(leader);
        }
        if self.guarded && status.is_none_or(|status| status.signal().is_some()) {
            super::orphans::sweep().await;
        }
    }

    async fn wait_in_steps(&mut self, grace: Duration) -> Option<ExitStatus> {
        if let Ok(status) = timeout(grace, self.child.wait()).await {
            return status.ok();
        }
        tracing::debug!(server = self.server, "still running after its input was closed; sending SIGTERM");
        self.terminate();
        // The guard itself kills what is left after `grace`; the second is for its own end.
        if let Ok(status) = timeout(grace + Duration::from_secs(1), self.child.wait()).await {
            return status.ok();
        }
        tracing::debug!(server = self.server, "still running after SIGTERM; killing it");
        self.kill_group();
        self.child.start_kill().ok();
        timeout(Duration::from_secs(5), self.child.wait()).await.ok()?.ok()
    }

    /// SIGTERM: to the guard, which passes it on to all descendants, or to the whole group.
    fn terminate(&self) {
        #[cfg(unix)]
        if let Some(pid) = self.leader_pid() {
            use rustix::process::{Signal, kill_process, kill_process_group};
            if self.guarded {
                kill_process(pid, Signal::TERM).ok();
            } else {
                kill_process_group(pid, Signal::TERM).ok();
            }
        }
    }

    fn kill_group(&mut self) {
        #[cfg(unix)]
        if let Some(pid) = self.leader_pid() {
            rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).ok();
        }
        #[cfg(windows)]
        drop(self.job.take());
    }

    #[cfg(unix)]
    fn leader_pid(&self) -> Option<rustix::process::Pid> {
        rustix::process::Pid::from_raw(i32::try_from(self.leader?).ok()?)
    }
}

/// A job object that holds the child and all it starts. Without one only the child itself is ended.
#[cfg(windows)]
fn job_of(server: &str, child: &Child) -> Option<win32job::Job> {
    let mut limits = win32job::ExtendedLimitInfo::new();
    limits.limit_kill_on_job_close();
    let made = win32job::Job::create_with_limit_info(&limits).and_then(|job| {
        if let Some(handle) = child.raw_handle() {
            job.assign_process(handle as isize)?;
        }
        Ok(job)
    });
    made.inspect_err(|error| tracing::warn!(server, "no job object: {error}")).ok()
}

/// The last resort, when a task that owned the process was dropped: the guard ends the whole tree
/// by itself, a plain child's group is killed.
impl Drop for Process {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if self.guarded {
            self.terminate();
        } else {
            self.kill_group();
            self.child.start_kill().ok();
        }
    }
}

#[cfg(target_os = "linux")]
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    super::orphans::owning(|| command.spawn(), |spawned| spawned.as_ref().ok()?.id())
}

#[cfg(not(target_os = "linux"))]
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    command.spawn()
}

#[cfg(target_os = "linux")]
fn command(program: &Path, args: &[String], guard: Option<&Path>, grace: Duration) -> Command {
    match guard {
        Some(executable) => {
            let mut command = Command::new(executable);
            command.args(super::guard::arguments(program, args, grace));
            command
        }
        None => plain_command(program, args),
    }
}

#[cfg(not(target_os = "linux"))]
fn command(program: &Path, args: &[String], _guard: Option<&Path>, _grace: Duration) -> Command {
    plain_command(program, args)
}

fn plain_command(program: &Path, args: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// The program as the child's own PATH finds it; a path is taken relative to `cwd`.
fn find_program(
    command: &str,
    cwd: Option<&Path>,
    environment: &BTreeMap<OsString, OsString>,
) -> Option<PathBuf> {
    if command.contains(std::path::MAIN_SEPARATOR) || command.contains('/') {
        let path = cwd.map_or_else(|| PathBuf::from(command), |cwd| cwd.join(command));
        // Absolute, since the child is started in `cwd` already.
        return path.is_file().then(|| std::path::absolute(&path).unwrap_or(path));
    }
    let path = environment.get(OsStr::new("PATH"))?;
    let endings: &[&str] = if cfg!(windows) { &["", ".exe", ".cmd", ".bat"] } else { &[""] };
    std::env::split_paths(path)
        .flat_map(|folder| endings.iter().map(move |ending| folder.join(format!("{command}{ending}"))))
        .find(|candidate| is_executable(candidate))
        .map(|found| std::path::absolute(&found).unwrap_or(found))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_ends_during_other_work_is_waited_for() {
        let config =
            StdioConfig { command: "true".to_owned(), args: Vec::new(), env: BTreeMap::new(), cwd: None };
        let (mut process, ..) = Process::spawn("brief", &config, None, Duration::from_secs(1)).unwrap();
        let entry = format!("/proc/{}", process.id().unwrap());
        let gone = process.during(async {
            while Path::new(&entry).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        timeout(Duration::from_secs(60), gone).await.expect("a process that nobody waits for stays there");
    }
}
