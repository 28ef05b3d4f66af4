//! Child servers: their processes, the MCP connection to each, and the pool that starts, shares
//! and ends them. Knows what a child says of its tools, not what they are used for.

mod connection;
mod environment;
#[cfg(target_os = "linux")]
pub mod guard;
mod pool;
mod process;
mod stderr;

use std::{path::PathBuf, sync::Arc, time::Duration};

pub use self::{
    connection::{Connection, Listing, ServerInfo},
    pool::{Lease, Pool, PoolOptions, ServerState, ServerStatus},
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
    /// The orchestrator is ending. Do not retry.
    #[error("the orchestrator is shutting down")]
    ShuttingDown,
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
    /// The child went away during the call. The tool may have run.
    #[error(
        "server \"{server}\" ended during the call of {tool}; its outcome is unknown{}",
        last_words(stderr)
    )]
    Closed {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// Last lines on stderr.
        stderr: String,
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
        data: Option<serde_json::Value>,
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
