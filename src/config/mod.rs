//! What the user wrote: the `mcpServers` object that every MCP host knows, and our own settings
//! under a top-level `orchestrator` key. Owns parsing, `${VAR}` expansion and the default folders;
//! knows nothing of running processes.

mod child;
mod expand;
mod parse;
mod paths;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::Deserialize;
use sha2::{Digest, Sha256};

pub use self::{
    child::{BreakerSettings, ChildSettings, Limits, RestartSettings, RetrySettings, Timeouts},
    parse::{ConfigError, load, parse},
    paths::Paths,
};

/// Name that belongs to the orchestrator itself and cannot be given to a server.
pub const RESERVED_SERVER_NAME: &str = "orchestrator";

/// The whole configuration, expanded and checked.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Servers by name, disabled ones included.
    pub servers: BTreeMap<String, ServerConfig>,
    /// Settings of the orchestrator itself.
    pub settings: Settings,
}

/// One entry of `mcpServers`.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// How the server is reached.
    pub transport: Transport,
    /// Set by the user: known, but never started nor found.
    pub disabled: bool,
    /// Deadlines, limits and the like.
    pub settings: ChildSettings,
}

/// How a child server is reached.
#[derive(Debug, Clone)]
pub enum Transport {
    /// A program that speaks MCP on stdin and stdout.
    Stdio(StdioConfig),
    /// An MCP endpoint over HTTP. Parsed and shown; connecting comes in a later version.
    Remote(RemoteConfig),
    /// The entry cannot be used; the text says why. Other servers go on working.
    Invalid(String),
}

/// A program to start.
#[derive(Clone, PartialEq, Eq)]
pub struct StdioConfig {
    /// Program name (looked up in PATH) or path.
    pub command: String,
    /// Arguments, passed on as they are.
    pub args: Vec<String>,
    /// Environment variables of this server alone.
    pub env: BTreeMap<String, String>,
    /// Working directory; the orchestrator's own when absent.
    pub cwd: Option<PathBuf>,
}

/// A remote endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteConfig {
    /// The `type` the user gave: `http`, `sse`, `streamable-http`.
    pub kind: String,
    /// Endpoint address.
    pub url: String,
    /// Headers to send along, usually credentials.
    pub headers: BTreeMap<String, String>,
}

/// Values of `env` are credentials more often than not, so only their names are shown.
impl fmt::Debug for StdioConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("StdioConfig")
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("cwd", &self.cwd)
            .finish()
    }
}

/// Header values are credentials, so only their names are shown.
impl fmt::Debug for RemoteConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RemoteConfig")
            .field("kind", &self.kind)
            .field("url", &self.url)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish()
    }
}

impl ServerConfig {
    /// The words of the command that starts the server.
    pub fn words(&self) -> Vec<String> {
        match &self.transport {
            Transport::Stdio(stdio) => std::iter::once(&stdio.command).chain(&stdio.args).cloned().collect(),
            Transport::Remote(_) | Transport::Invalid(_) => Vec::new(),
        }
    }

    /// Identity of what is started, as hex: a cached tool list is used only while this is the same.
    /// Values of `env` and `headers` are left out, so that a rotated credential costs no reindex.
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        let mut field = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update([0]);
        };
        match &self.transport {
            Transport::Stdio(stdio) => {
                field("stdio");
                field(&stdio.command);
                stdio.args.iter().for_each(|arg| field(arg));
                field("env");
                stdio.env.keys().for_each(|key| field(key));
                field(&stdio.cwd.as_deref().map_or_else(String::new, |cwd| cwd.display().to_string()));
            }
            Transport::Remote(remote) => {
                field("remote");
                field(&remote.url);
            }
            Transport::Invalid(_) => field("invalid"),
        }
        crate::digest::hex(&hasher.finalize())
    }
}

/// The `orchestrator` object of the configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Embedding model: a name from the manifest, or a folder with a BERT-type sentence-transformer.
    pub model: String,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What follows a crash.
    pub restart: RestartSettings,
    /// When calls are refused because too many failed.
    pub breaker: BreakerSettings,
    /// When a lost call is sent again.
    pub retry: RetrySettings,
    /// What a child may send, and be sent.
    pub limits: Limits,
    /// Calls to all servers together.
    pub total_limits: TotalLimits,
    /// For calls under way when a signal asks for the end.
    #[serde(with = "child::seconds")]
    pub drain: Duration,
    /// The audit trail.
    pub audit: AuditSettings,
    /// Settings of single servers that differ from the above.
    pub(in crate::config) servers: BTreeMap<String, child::Overlay>,
    /// Number of vectors from which HNSW replaces the exact scan.
    pub hnsw_threshold: usize,
    /// When `execute` calls, asks or declines.
    pub execute: ExecuteSettings,
    /// Where example tasks come from.
    pub examples: ExampleSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: crate::embed::DEFAULT_MODEL.to_owned(),
            timeouts: Timeouts::default(),
            restart: RestartSettings::default(),
            breaker: BreakerSettings::default(),
            retry: RetrySettings::default(),
            limits: Limits::default(),
            total_limits: TotalLimits::default(),
            drain: Duration::from_secs(10),
            audit: AuditSettings::default(),
            servers: BTreeMap::new(),
            hnsw_threshold: 20_000,
            execute: ExecuteSettings::default(),
            examples: ExampleSettings::default(),
        }
    }
}

impl Settings {
    /// The settings of one server.
    pub(in crate::config) fn of_server(&self, server: &str) -> ChildSettings {
        let Self { timeouts, restart, breaker, retry, limits, .. } = *self;
        let settings = ChildSettings { timeouts, restart, breaker, retry, limits };
        self.servers.get(server).map_or(settings, |overlay| settings.overlaid(overlay))
    }
}

/// Where example tasks come from, besides the shipped pack and those given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExampleSettings {
    /// Whether the host's model is asked for examples of tools that have none.
    pub sampling: Sampling,
    /// How often it may be asked in an hour; 0 is never.
    pub sampling_calls_per_hour: u32,
    /// Whether the task of a call that a model made explicitly, and that succeeded, becomes an example.
    pub from_use: bool,
}

impl Default for ExampleSettings {
    fn default() -> Self {
        Self { sampling: Sampling::Ask, sampling_calls_per_hour: 6, from_use: true }
    }
}

/// Whether the host's model may be asked for examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Never.
    Off,
    /// After the user agreed, once in a session; not where the host cannot ask the user.
    Ask,
    /// Whenever there is something to ask for.
    On,
}

/// How much the audit trail counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditSettings {
    /// Make no call while the trail cannot be written. Else rows wait in memory, within bounds.
    pub strict: bool,
}

/// Bounds for calls to all servers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TotalLimits {
    /// Calls under way at once.
    pub concurrent_calls: usize,
    /// Calls that may wait for their turn.
    pub queued_calls: usize,
}

impl Default for TotalLimits {
    fn default() -> Self {
        Self { concurrent_calls: 512, queued_calls: 2048 }
    }
}

/// When `execute` calls. The thresholds are on calibrated confidence (a probability, 0 to 1).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExecuteSettings {
    /// Unless it is at least as likely as this that there is a tool for the task, the answer is `no_match`; of tools without
    /// examples it is not known.
    pub fits_from: f32,
    /// Below this the answer is `no_match`; below `ambiguous_below` already where the task names another service, or asks
    /// for another action.
    pub no_match_below: f32,
    /// Below this the answer is `ambiguous`, unless the arguments tell which tool is meant.
    pub ambiguous_below: f32,
    /// From this on a tool is taken without asking, however close the second.
    pub certain_from: f32,
    /// Between the two, the second candidate has to be this many times less likely than the first,
    /// else the answer is `ambiguous`.
    pub ambiguous_ratio: f32,
    /// Whether it calls with arguments that were read from the task's words.
    pub infer: Infer,
    /// Servers (`name`) and tools (`server:tool`) that it calls without confirmation even if they may destroy
    /// something.
    pub allow_destructive: Vec<String>,
    /// Bytes of text in a result from which on it is cut, to be read on by a cursor; 0 cuts nothing.
    pub max_result_bytes: usize,
}

/// Which arguments that were read from a task's words are good enough for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Infer {
    /// None: the caller gives all.
    Off,
    /// Those that leave nothing of the task to doubt.
    Certain,
    /// All that satisfy the tool's schema.
    All,
}

impl Default for ExecuteSettings {
    fn default() -> Self {
        Self {
            fits_from: 0.63,
            no_match_below: 0.15,
            ambiguous_below: 0.4,
            certain_from: 0.8,
            ambiguous_ratio: 1.5,
            infer: Infer::Certain,
            allow_destructive: Vec::new(),
            max_result_bytes: 100_000,
        }
    }
}

impl ExecuteSettings {
    /// Whether this tool is called without confirmation even if it may destroy something.
    pub fn allows_destruction(&self, server: &str, tool: &str) -> bool {
        self.allow_destructive
            .iter()
            .any(|entry| entry == server || entry.split_once(':') == Some((server, tool)))
    }
}
