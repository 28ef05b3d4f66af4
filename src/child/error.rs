//! What can go wrong between us and a child, in words for people and for the trail.

use std::{path::PathBuf, sync::Arc, time::Duration};

use rmcp::model::ErrorCode;

/// Why no connection to a server came about. Shared by all who waited for it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No such server: the user's or the model's mistake. Do not retry.
    #[error("unknown server \"{server}\"{}", did_you_mean(suggestion.as_deref()))]
    Unknown {
        /// The name asked for.
        server: String,
        /// The nearest name there is.
        suggestion: Option<String>,
    },
    /// Switched off in the configuration. Do not retry.
    #[error("server \"{server}\" is disabled in the configuration")]
    Disabled {
        /// The server.
        server: String,
    },
    /// The configuration entry cannot be used. Do not retry before it is mended.
    #[error("server \"{server}\" cannot be used: {reason}")]
    Invalid {
        /// The server.
        server: String,
        /// What is wrong in its entry.
        reason: String,
    },
    /// The program is not there. Do not retry before the user installs it.
    #[error("server \"{server}\": program \"{command}\" was not found; install it or give its full path")]
    ProgramNotFound {
        /// The server.
        server: String,
        /// The configured command.
        command: String,
    },
    /// The working directory is not there.
    #[error("server \"{server}\": working directory {} is not a folder", cwd.display())]
    WorkingDirectory {
        /// The server.
        server: String,
        /// The configured `cwd`.
        cwd: PathBuf,
    },
    /// The system refused to start the program.
    #[error("server \"{server}\": cannot start \"{command}\"")]
    Spawn {
        /// The server.
        server: String,
        /// The configured command.
        command: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The program ended before the connection stood. Its last words usually tell why.
    #[error("server \"{server}\" ended {when} ({status}){}", last_words(stderr))]
    Exited {
        /// The server.
        server: String,
        /// `during the handshake`, `while listing its tools`.
        when: &'static str,
        /// Exit code or signal, in words.
        status: String,
        /// Last lines on stderr.
        stderr: String,
    },
    /// No answer within the deadline. May be retried later.
    #[error("server \"{server}\" did not answer {what} within {} s{}", limit.as_secs_f32(), last_words(stderr))]
    Timeout {
        /// The server.
        server: String,
        /// `initialize` or `tools/list`.
        what: &'static str,
        /// The deadline.
        limit: Duration,
        /// Last lines on stderr.
        stderr: String,
    },
    /// The child answered with an error, or with something that is no answer.
    #[error("server \"{server}\" refused {what}: {message}{}", last_words(stderr))]
    Refused {
        /// The server.
        server: String,
        /// `initialize` or `tools/list`.
        what: &'static str,
        /// Its error.
        message: String,
        /// Last lines on stderr.
        stderr: String,
    },
    /// It ran, and ended by itself or had to be ended. It is started again after a pause.
    #[error("server \"{server}\" ended by itself ({reason}){}", last_words(stderr))]
    Crashed {
        /// The server.
        server: String,
        /// Exit code, signal, or what it failed to do.
        reason: String,
        /// Last lines on stderr.
        stderr: String,
    },
    /// It is not started before a pause has passed. May be retried then.
    #[error("server \"{server}\" is started again in {:.1} s; before: {error}", wait.as_secs_f32())]
    Resting {
        /// The server.
        server: String,
        /// The rest of the pause.
        wait: Duration,
        /// What it rests from.
        error: Arc<ConnectError>,
    },
    /// Too many crashes or failed starts in a row. Do not retry before the user acts.
    #[error(
        "server \"{server}\" was given up after {failures} failures in a row, the last: {error}. When it is \
         mended, call_tool with {{\"tool\": \"orchestrator:restart_server\", \"arguments\": {{\"server\": \
         \"{server}\"}}}} starts it again"
    )]
    GivenUp {
        /// The server.
        server: String,
        /// How many.
        failures: u32,
        /// The last of them.
        error: Arc<ConnectError>,
    },
    /// The orchestrator is ending. Do not retry.
    #[error("the orchestrator is shutting down")]
    ShuttingDown,
}

impl ConnectError {
    /// Whether starting again is of no use before the user changes something. Such a start costs
    /// next to nothing, so each call may try it.
    pub(super) fn needs_the_user(&self) -> bool {
        matches!(
            self,
            Self::Unknown { .. }
                | Self::Disabled { .. }
                | Self::Invalid { .. }
                | Self::ProgramNotFound { .. }
                | Self::WorkingDirectory { .. }
        )
    }

    /// Whether the configuration says that it is not to be started.
    pub(super) fn is_configured_so(&self) -> bool {
        matches!(self, Self::Disabled { .. } | Self::Invalid { .. })
    }

    /// What happened, without anything that the server itself wrote: it may quote arguments or
    /// credentials.
    pub fn for_the_trail(&self) -> String {
        match self {
            Self::Exited { server, when, status, .. } => {
                format!("server \"{server}\" ended {when} ({status})")
            }
            Self::Timeout { server, what, limit, .. } => {
                format!("server \"{server}\" did not answer {what} within {} s", limit.as_secs_f32())
            }
            Self::Refused { server, what, .. } => format!("server \"{server}\" refused {what}"),
            Self::Crashed { server, reason, .. } => format!("server \"{server}\" ended by itself ({reason})"),
            Self::Resting { server, error, .. } => {
                format!("server \"{server}\" rests; before: {}", error.for_the_trail())
            }
            Self::GivenUp { server, error, .. } => {
                format!("server \"{server}\" was given up; the last: {}", error.for_the_trail())
            }
            other => crate::report::chain(other),
        }
    }

    /// Whether the server is to blame.
    pub(super) fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Spawn { .. }
                | Self::Exited { .. }
                | Self::Timeout { .. }
                | Self::Refused { .. }
                | Self::Crashed { .. }
        )
    }
}

/// Why a call brought no result of the tool.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no connection; the call never left.
    #[error(transparent)]
    Connect(#[from] Arc<ConnectError>),
    /// No answer within the deadline; the child was told to cancel. The tool may have run.
    #[error("{server}:{tool} did not answer within {} s; the call was cancelled, its outcome is unknown", limit.as_secs_f32())]
    Timeout {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// The deadline.
        limit: Duration,
    },
    /// The child went away. When the call had left, the tool may have run.
    #[error(
        "server \"{server}\" ended {} the call of {tool}{}; {}{}",
        if *sent { "during" } else { "before" },
        in_parentheses(reason),
        if *sent { "its outcome is unknown" } else { "it was not sent" },
        last_words(stderr)
    )]
    Closed {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// Exit code or signal in words; empty where it is not known.
        reason: String,
        /// Last lines on stderr.
        stderr: String,
        /// Whether the call had left.
        sent: bool,
    },
    /// Too many calls at once. It was not sent; try again when some have ended.
    #[error("server \"{server}\" is busy: {running} calls are under way and {queued} wait; try again later")]
    Busy {
        /// The server.
        server: String,
        /// Calls under way.
        running: usize,
        /// Calls that wait.
        queued: usize,
    },
    /// Too many calls failed. It was not sent; one is let through again after a while.
    #[error(
        "server \"{server}\" takes no calls for the next {:.1} s, since too many failed",
        wait.as_secs_f32()
    )]
    Open {
        /// The server.
        server: String,
        /// When a call may pass again.
        wait: Duration,
    },
    /// The arguments are over the limit. It was not sent.
    #[error("the arguments of {server}:{tool} are too large: {bytes} bytes, and {limit} are the limit")]
    TooLarge {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// Their size as JSON.
        bytes: usize,
        /// `limits.requestBytes`.
        limit: usize,
    },
    /// The child answered with a JSON-RPC error: it did not run the tool.
    #[error("server \"{server}\" rejected the call of {tool}: {message} (code {code})")]
    Rejected {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// JSON-RPC error code.
        code: i32,
        /// Its message.
        message: String,
        /// Its data, handed on.
        data: Option<Box<serde_json::Value>>,
    },
    /// The answer was no tool result.
    #[error("server \"{server}\" gave an invalid answer to {tool}: {reason}")]
    InvalidAnswer {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The tool asks for input, and nobody gives it. Not the server's fault.
    #[error("{server}:{tool} asks for input: {reason}")]
    InputRefused {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// Why there is none.
        reason: String,
    },
    /// The caller went away or cancelled.
    #[error("the call of {server}:{tool} was cancelled")]
    Cancelled {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
    },
}

fn last_words(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!("; it last wrote: {stderr}") }
}

impl CallError {
    /// Whether the call surely never reached the child.
    pub fn never_left(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::Open { .. } | Self::Busy { .. } | Self::Closed { sent: false, .. }
        )
    }

    /// Whether the child says that the arguments are wrong.
    pub fn is_about_arguments(&self) -> bool {
        matches!(self, Self::Rejected { code, .. } if *code == ErrorCode::INVALID_PARAMS.0)
    }

    /// What happened, without anything that the server itself wrote: it may quote arguments.
    pub fn for_the_trail(&self) -> String {
        match self {
            Self::Connect(error) => error.for_the_trail(),
            Self::Closed { server, tool, reason, sent, .. } => {
                let when = if *sent { "during" } else { "before" };
                format!("server \"{server}\" ended {when} the call of {tool}{}", in_parentheses(reason))
            }
            Self::Rejected { code, .. } => format!("the server rejected the call (code {code})"),
            Self::InvalidAnswer { server, tool, .. } => {
                format!("server \"{server}\" gave an invalid answer to {tool}")
            }
            Self::InputRefused { server, tool, .. } => format!("{server}:{tool} asks for input"),
            other => other.to_string(),
        }
    }
}

fn in_parentheses(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
}
