//! Child servers: their processes, the MCP connection to each, and the pool that starts, shares
//! and ends them. Knows what a child says of its tools, not what they are used for.

mod breaker;
mod call;
mod connection;
mod environment;
mod gate;
#[cfg(target_os = "linux")]
pub mod guard;
mod handshake;
mod listing;
#[cfg(target_os = "linux")]
pub mod orphans;
mod pool;
mod process;
mod relay;
mod retry;
mod status;
mod stderr;
mod supervisor;
mod transport;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use self::{
    breaker::BreakerState,
    call::{Answer, CallRequest},
    connection::{Connection, ServerInfo},
    handshake::Lifecycle,
    listing::Listing,
    pool::{CallReport, Pool, PoolOptions},
    relay::{Boxed, Caller, Connected, Host, Hosts},
    status::{ServerState, ServerStatus},
    supervisor::Lease,
    transport::Noise,
};

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
    fn needs_the_user(&self) -> bool {
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
    fn is_configured_so(&self) -> bool {
        matches!(self, Self::Disabled { .. } | Self::Invalid { .. })
    }

    /// Whether the server is to blame.
    fn is_fault(&self) -> bool {
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

fn in_parentheses(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"))
}

/// The name among `names` that is nearest to `wanted`, if any is near enough to be a slip.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Two measures: the first knows shared beginnings, the second swapped and missing letters.
    let similarity = |name: &str| {
        let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
        let edits = strsim::normalized_damerau_levenshtein(&wanted, &name);
        if edits >= 0.6 { edits.max(0.75) } else { 0.0 }.max(strsim::jaro_winkler(&wanted, &name))
    };
    names
        .into_iter()
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity >= 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| name)
}
