//! `orchestrator execute`: a task from the command line, as a host would send it.

use std::fmt::Write;

use tokio_util::sync::CancellationToken;

use super::{
    Context, UsageError,
    output::{Output, printable},
};
use crate::{
    child::Caller,
    cli::Exit,
    execute::{Outcome, Routing, Task, Timings, parse_arguments},
};

/// Options of `execute`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is wanted, in plain language
    task: String,
    /// Arguments of the tool, as a JSON object
    #[arg(long = "arguments", value_name = "JSON")]
    input: Option<String>,
    /// Use this server only
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Show what would be called, and call nothing
    #[arg(long)]
    dry_run: bool,
}

/// Does a task and prints how it ended.
pub async fn run(arguments: Arguments, context: Context, out: &mut Output) -> anyhow::Result<Exit> {
    let given = arguments.input.map(|text| parse_arguments(text.into())).transpose().map_err(UsageError)?;
    if arguments.task.trim().is_empty() {
        return Err(UsageError("the task is empty; say in a sentence what is wanted".to_owned()).into());
    }
    let orchestrator = context.start().await?;
    if orchestrator.library.snapshot().is_empty() {
        tracing::warn!("no tool is known yet; run `orchestrator reindex` first");
    }
    let task =
        Task { text: arguments.task, arguments: given, server: arguments.server, dry_run: arguments.dry_run };
    let outcome = until_interrupted(|cancel| async move {
        let outcome = Box::pin(orchestrator.executor.execute(&task, &Caller::with_cancel(cancel))).await;
        orchestrator.shutdown().await;
        outcome
    })
    .await;
    print(&outcome, out)?;
    Ok(exit(&outcome))
}

/// Runs a call that Ctrl-C cancels.
pub(super) async fn until_interrupted<T, F: Future<Output = T>>(
    call: impl FnOnce(CancellationToken) -> F,
) -> T {
    let cancel = CancellationToken::new();
    let interrupted = cancel.clone();
    let listener = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let outcome = call(cancel).await;
    listener.abort();
    outcome
}

/// Prints an outcome: what was chosen on one line, then the child's own content, or what is missing.
pub(super) fn print(outcome: &Outcome, out: &mut Output) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(&outcome.structured());
    }
    if let Some(routing) = outcome.routing() {
        out.line(format!("{} → {}{}", outcome.status(), routing.id(), facts(routing)))?;
    } else {
        out.line(outcome.status())?;
    }
    match outcome {
        Outcome::Done { result, .. } => {
            for block in &result.content {
                match block.as_text() {
                    Some(text) => out.line(printable(&text.text))?,
                    None => out.line(serde_json::to_string(block).map_err(std::io::Error::other)?)?,
                }
            }
            Ok(())
        }
        other => out.line(printable(&other.text())),
    }
}

/// Confidence and the time of each stage.
fn facts(routing: &Routing) -> String {
    let Timings { route, start_ms, call_ms } = routing.timings;
    let mut facts =
        routing.confidence.map_or_else(String::new, |confidence| format!(", confidence {confidence:.2}"));
    let stages = [
        ("embed", route.map(|route| route.embed_ms)),
        ("search", route.map(|route| route.search_ms)),
        ("start", start_ms),
        ("call", call_ms),
    ];
    for (name, time) in stages {
        if let Some(time) = time {
            write!(facts, ", {name} {time:.1} ms").ok();
        }
    }
    facts
}

/// The exit code of an outcome.
pub(super) fn exit(outcome: &Outcome) -> Exit {
    match outcome {
        Outcome::Done { result, .. } if result.is_error == Some(true) => Exit::Failed,
        Outcome::Done { .. } | Outcome::DryRun { .. } => Exit::Done,
        Outcome::Failed { .. } => Exit::Failed,
        Outcome::NeedsArguments { .. }
        | Outcome::Ambiguous { .. }
        | Outcome::NoMatch { .. }
        | Outcome::InputRequired { .. }
        | Outcome::NeedsConfirmation { .. } => Exit::NotDone,
    }
}
