//! The guard: a small process of this same binary that stands between the orchestrator and one
//! child on Linux, so that no descendant of the child outlives either.
//!
//! It is the subreaper of the child's tree, so a grandchild that left the process group (`setsid`,
//! double fork) is still found below it. It watches the orchestrator through a pidfd, which tells
//! of its end whatever the cause, SIGKILL included. stdin and stdout belong to the child alone: no
//! byte of the protocol passes through here. (`PR_SET_PDEATHSIG` would not do: it fires when the
//! spawning *thread* ends, and spares grandchildren.)

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, pidfd_open,
    set_child_subreaper, wait,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{Instant, sleep_until},
};

/// First argument by which the binary knows that it is to be a guard.
pub const ARGUMENT: &str = "__guard";

/// What a child has after the orchestrator's death: for its end of input, and again for SIGTERM.
const ORPHAN_GRACE: Duration = Duration::from_millis(500);

/// How often the tree is looked at while it is being ended: there is no event for "all gone".
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// How often the parent is looked at where the system cannot tell of its end.
const PARENT_INTERVAL: Duration = Duration::from_millis(100);

/// The guard's command line for a child.
pub(super) fn arguments(program: &Path, args: &[String], grace: Duration) -> Vec<OsString> {
    let own = [ARGUMENT.to_owned(), getpid().as_raw_nonzero().to_string(), grace.as_millis().to_string()];
    own.into_iter()
        .map(OsString::from)
        .chain([program.into()])
        .chain(args.iter().map(OsString::from))
        .collect()
}

/// Runs as a guard: `arguments` are those after [`ARGUMENT`]. Ends with the child's exit code, or
/// 128 + n when signal n ended it.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let number = |text: Option<OsString>| text?.to_str()?.parse::<u64>().ok();
    let (Some(parent), Some(grace), Some(program)) =
        (number(arguments.next()), number(arguments.next()), arguments.next())
    else {
        return fail("usage: __guard PARENT_PID GRACE_MS PROGRAM [ARGUMENTS]");
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot guard the child: {error}")),
    };
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    match runtime.block_on(guard(parent, Duration::from_millis(grace), &program, arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&format!("cannot start {}: {error}", program.display())),
    }
}

/// 127, as a shell says of a program that it could not start.
fn fail(message: &str) -> ExitCode {
    use std::io::Write;
    writeln!(std::io::stderr(), "{message}").ok();
    ExitCode::from(127)
}

async fn guard(
    parent: Option<Pid>,
    grace: Duration,
    program: &OsString,
    arguments: impl Iterator<Item = OsString>,
) -> std::io::Result<u8> {
    let mut ended_children = signal(SignalKind::child())?;
    let mut asked_to_end = signal(SignalKind::terminate())?;
    set_child_subreaper(Some(getpid()))?;
    let mut parent = watch(parent)?;
    let child = Command::new(program).args(arguments).spawn()?;
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let code = {
        // From here on the pipes are the child's alone, so that each side sees the other's end.
        release_standard_streams()?;
        loop {
            tokio::select! {
                _ = ended_children.recv() => {
                    if let Some(code) = reap(child).code {
                        break code;
                    }
                }
                _ = asked_to_end.recv() => break end_tree(child, Duration::ZERO, grace).await,
                _ = &mut parent => break end_tree(child, ORPHAN_GRACE, ORPHAN_GRACE).await,
            }
        }
    };
    // The child is gone; whatever it left behind goes too.
    end_tree(None, Duration::ZERO, ORPHAN_GRACE.min(grace)).await;
    Ok(code)
}

/// Resolves when the orchestrator ends. If it ended before we looked, we have another parent by now,
/// and a descriptor for it would never tell.
fn watch(parent: Option<Pid>) -> std::io::Result<oneshot::Receiver<()>> {
    let gone = || std::io::Error::other("the orchestrator ended meanwhile");
    let expected = parent.ok_or_else(gone)?;
    let descriptor = pidfd_open(expected, PidfdFlags::empty());
    if getppid() != Some(expected) {
        return Err(gone());
    }
    let (sender, receiver) = oneshot::channel();
    // A thread that waits: tokio has no safe way to watch a bare descriptor.
    thread::Builder::new().name("parent".to_owned()).stack_size(64 * 1024).spawn(move || {
        match descriptor {
            Ok(descriptor) => while poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], None).is_err() {},
            // Before Linux 5.3, and in sandboxes that forbid it, the parent is looked at.
            Err(_) => {
                while getppid() == Some(expected) {
                    thread::sleep(PARENT_INTERVAL);
                }
            }
        }
        sender.send(()).ok();
    })?;
    Ok(receiver)
}

fn release_standard_streams() -> std::io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}

/// What became of our children so far.
struct Reaped {
    /// The exit code of the child that was asked for, if it is one of them.
    code: Option<u8>,
    /// Whether there is no child left at all, adopted ones included.
    all: bool,
}

/// Takes in every ended child, adopted ones too.
fn reap(child: Option<Pid>) -> Reaped {
    let mut code = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid) == child => code = Some(exit_code(status)),
            Ok(Some(_)) => {}
            Ok(None) => return Reaped { code, all: false },
            Err(error) => return Reaped { code, all: error == Errno::CHILD },
        }
    }
}

fn exit_code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(1)).unwrap_or(u8::MAX)
}

/// Ends all descendants: nothing for `patience`, then SIGTERM, after `grace` SIGKILL until none is
/// left. Returns the exit code of `child`, 137 (killed) when it was not seen.
async fn end_tree(child: Option<Pid>, patience: Duration, grace: Duration) -> u8 {
    let terminate_at = Instant::now() + patience;
    let kill_at = terminate_at + grace;
    let (mut terminated, mut code) = (false, None);
    loop {
        let reaped = reap(child);
        code = code.or(reaped.code);
        // Only the system knows for certain: a process whose first thread has ended looks dead in /proc.
        if reaped.all {
            return code.unwrap_or(137);
        }
        let below = descendants(getpid());
        let now = Instant::now();
        if now >= kill_at {
            signal_all(&below, Signal::KILL);
        } else if now >= terminate_at && !terminated {
            signal_all(&below, Signal::TERM);
            terminated = true;
        }
        sleep_until(now + SWEEP_INTERVAL).await;
    }
}

fn signal_all(processes: &[Pid], signal: Signal) {
    for pid in processes {
        kill_process(*pid, signal).ok();
    }
}

/// All processes below `root`, by the parent links in /proc. Zombies are among them: one may be a
/// process whose first thread has ended while others of it run and have children.
pub(super) fn descendants(root: Pid) -> Vec<Pid> {
    let links = parent_links();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(links.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// The processes directly below `parent`.
pub(super) fn children(parent: Pid) -> Vec<Pid> {
    parent_links().into_iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid).collect()
}

/// All processes with their parents.
fn parent_links() -> Vec<(Pid, Pid)> {
    let link = |pid: i32| {
        let parent = parent(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        Some((Pid::from_raw(pid)?, Pid::from_raw(parent)?))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| link(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Parent process id from a line of `/proc/PID/stat`. The second field is the program's name in
/// parentheses, which may itself hold spaces and parentheses (proc(5)).
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_past_any_program_name() {
        assert_eq!(parent("12 (node) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) b (c) R 9 1 1"), Some(9));
        assert_eq!(parent("12 (sh) Z 7 12 12 0"), Some(7));
        assert_eq!(parent("garbage"), None);
    }
}
