//! `orchestrator completions`: a completion script for a shell.

use clap_complete::Shell;

use super::output::Output;
use crate::cli::Exit;

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script for the grammar of `command`.
pub fn run(arguments: &Arguments, command: &mut clap::Command, out: &mut Output) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "orchestrator", &mut script);
    out.raw(&script)?;
    Ok(Exit::Done)
}
