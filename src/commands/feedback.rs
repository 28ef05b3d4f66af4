//! `orchestrator feedback`: what is learned from use, the tasks after which a model itself called a tool well. They
//! are examples like others; this is the short way to those of this source.

use super::examples::{self, Which};
use crate::examples::Source;

/// Verbs of `feedback`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show what was learned
    List,
    /// Learn from use, and use what was learned
    On,
    /// Learn nothing more, and leave what was learned unused
    Off,
    /// Delete what was learned, all of it or some by their numbers
    Forget {
        /// Numbers, as `list` shows them
        ids: Vec<i64>,
    },
}

impl From<Command> for examples::Command {
    fn from(command: Command) -> Self {
        let which = || Which::of(Source::Use);
        match command {
            Command::List => Self::List { which: which(), doubtful: false },
            Command::On => Self::On { source: Source::Use },
            Command::Off => Self::Off { source: Source::Use, forget: false },
            Command::Forget { ids } => Self::Rm { ids, which: which() },
        }
    }
}
