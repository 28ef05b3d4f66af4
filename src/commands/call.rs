//! `orchestrator call`: one exact call.

use super::{
    Context, UsageError,
    execute::{exit, print, until_interrupted},
    output::Output,
};
use crate::{child::Caller, cli::Exit, execute::parse_arguments};

/// Options of `call`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The server
    server: String,
    /// The tool
    tool: String,
    /// Its arguments, as a JSON object
    #[arg(long = "arguments", value_name = "JSON", default_value = "{}")]
    input: String,
}

/// Calls a tool and prints its answer.
pub async fn run(arguments: Arguments, context: Context, out: &mut Output) -> anyhow::Result<Exit> {
    let given = parse_arguments(arguments.input.into()).map_err(UsageError)?;
    let orchestrator = context.start().await?;
    let name = format!("{}:{}", arguments.server, arguments.tool);
    let outcome = until_interrupted(|cancel| async move {
        let outcome = orchestrator.executor.call(&name, given, &Caller::with_cancel(cancel)).await;
        orchestrator.shutdown().await;
        outcome
    })
    .await;
    print(&outcome, out)?;
    Ok(exit(&outcome))
}
