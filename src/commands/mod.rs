//! The command line's verbs, one file each. They may use everything; nothing uses them.

pub mod audit;
pub mod call;
pub mod completions;
pub mod eval;
pub mod examples;
pub mod execute;
pub mod feedback;
pub mod model;
pub mod output;
pub mod reindex;
pub mod search;
pub mod serve;
pub mod status;
pub mod teach;

use crate::{
    config::{Config, Paths},
    orchestrator::Orchestrator,
};

/// What the commands that need servers start from.
pub struct Context {
    /// What the user wrote.
    pub config: Config,
    /// Where files are kept.
    pub paths: Paths,
}

impl Context {
    /// Starts the orchestrator, with this executable as guard of its children. Its tools are still to be read.
    fn start_at_once(self) -> anyhow::Result<Orchestrator> {
        Ok(Orchestrator::start(self.config, self.paths, guard())?)
    }

    /// The same, with its tools.
    async fn start(self) -> anyhow::Result<Orchestrator> {
        let orchestrator = self.start_at_once()?;
        orchestrator.library.read().await;
        Ok(orchestrator)
    }

    /// The same for a command that takes in tool lists itself.
    fn start_without_listening(self) -> anyhow::Result<Orchestrator> {
        Ok(Orchestrator::start_without_listening(self.config, self.paths, guard())?.0)
    }
}

/// This executable, as guard of children. `/proc/self/exe` stays right when the file is replaced by a
/// newer one.
fn guard() -> Option<std::path::PathBuf> {
    #[cfg(target_os = "linux")]
    crate::child::orphans::adopt();
    if cfg!(target_os = "linux") { Some("/proc/self/exe".into()) } else { std::env::current_exe().ok() }
}

/// A mistake in how a command was called; exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
