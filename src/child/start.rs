//! Starting a child: how long it may take, and why no session came about.

use std::{ffi::OsStr, path::Path, process::ExitStatus, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::{ConnectError, handshake::HandshakeError, listing::ListError, process::Process};
use crate::config::{StdioConfig, Timeouts};

/// For the exit code of a child that closed its pipes.
const EXIT_CODE_WAIT: Duration = Duration::from_millis(500);

/// The time that a start may take. `known` says that it started before, so that what it needs is there.
pub(super) fn start_limit(config: &StdioConfig, timeouts: &Timeouts, known: bool) -> Duration {
    if !known && installs(config) { timeouts.install.max(timeouts.handshake) } else { timeouts.handshake }
}

/// Whether a program may fetch packages before it starts, itself or through a shell.
fn installs(config: &StdioConfig) -> bool {
    const INSTALLERS: &[&str] =
        &["npx", "uvx", "uv", "bunx", "pnpm", "yarn", "pipx", "docker", "podman", "deno"];
    const SHELLS: &[&str] = &["cmd", "sh", "bash", "zsh", "powershell", "pwsh"];
    let is_one_of = |command: &str, names: &[&str]| {
        let stem = Path::new(command).file_stem().and_then(OsStr::to_str);
        stem.is_some_and(|stem| names.contains(&stem.to_lowercase().as_str()))
    };
    let first_word = |text: &String| text.split_whitespace().next().unwrap_or_default().to_owned();
    is_one_of(&config.command, INSTALLERS)
        || is_one_of(&config.command, SHELLS)
            && config.args.iter().take(3).any(|arg| is_one_of(&first_word(arg), INSTALLERS))
}

/// Why a session did not come about, before the process was looked at for the reason.
#[derive(Debug)]
pub(super) enum Failure {
    Handshake(HandshakeError),
    List(ListError),
    Timeout(&'static str, Duration),
    ShuttingDown,
}

/// The same with its reason for people.
pub(super) struct Failed {
    pub(super) error: ConnectError,
    /// Whether the child ended when all it had seen was `server/discover`.
    pub(super) probed: bool,
    /// Ends the process, where that is still to be done: the server is not started again before.
    pub(super) ending: Option<JoinHandle<()>>,
}

impl Failure {
    /// Turns what is known into an error for people, and sees to it that the process ends.
    pub(super) async fn into_error(
        self,
        server: &str,
        process: Process,
        grace: Duration,
        tasks: &TaskTracker,
    ) -> Failed {
        let tail = process.stderr();
        let probed = matches!(self, Self::Handshake(HandshakeError::Closed { probed: true }));
        let closed = match &self {
            Self::Handshake(HandshakeError::Closed { .. }) => Some("during the handshake"),
            Self::List(ListError::Closed) => Some("while listing its tools"),
            _ => None,
        };
        let server = server.to_owned();
        if let Some(when) = closed {
            // Its exit code tells more than anything else.
            let status = process.stop(EXIT_CODE_WAIT.max(grace)).await;
            let status = status.map_or_else(|| "no exit code".to_owned(), in_words);
            let error = ConnectError::Exited { server, when, status, stderr: tail.text() };
            return Failed { error, probed, ending: None };
        }
        let ending = Some(tasks.spawn(async move {
            process.stop(grace).await;
        }));
        let stderr = tail.text();
        let error = match self {
            Self::Handshake(HandshakeError::Refused(message)) => {
                ConnectError::Refused { server, what: "initialize", message, stderr }
            }
            Self::List(ListError::Refused(message)) => {
                ConnectError::Refused { server, what: "tools/list", message, stderr }
            }
            Self::Timeout(what, limit) => ConnectError::Timeout { server, what, limit, stderr },
            _ => ConnectError::ShuttingDown,
        };
        Failed { error, probed, ending }
    }
}

/// How a child ended, in words: `exit status: 3`, or the signal, which the guard tells as 128 + its
/// number like a shell.
pub(super) fn in_words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) if code > 128 && cfg!(unix) => format!("killed by signal {}", code - 128),
        _ => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn only_a_first_start_of_an_installer_has_time_to_install() {
        let timeouts = Timeouts::default();
        let limit = |command: &str, args: &[&str], known| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            let config = StdioConfig { command: command.into(), args, env: BTreeMap::new(), cwd: None };
            start_limit(&config, &timeouts, known)
        };
        assert_eq!(limit("/usr/bin/npx", &["-y", "x"], false), timeouts.install);
        assert_eq!(limit("sh", &["-c", "npx -y x"], false), timeouts.install);
        assert_eq!(limit("CMD.exe", &["/c", "npx", "x"], false), timeouts.install);
        assert_eq!(limit("npx", &["-y", "x"], true), timeouts.handshake);
        assert_eq!(limit("node", &["npx.js"], false), timeouts.handshake);
    }
}
