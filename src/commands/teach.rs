//! `orchestrator teach`: any language model writes example tasks for tools that have none: a program
//! that is run batch by batch, or a prompt to be answered by hand.

use std::{collections::HashSet, path::PathBuf, process::Stdio, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{Context, UsageError, examples, output::Output};
use crate::{
    catalog::Tool,
    cli::Exit,
    examples::{Source, prompt},
    index::Taught,
    orchestrator::Orchestrator,
};

/// For one answer of the program.
const PATIENCE: Duration = Duration::from_secs(600);

/// Options of `teach`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("how").required(true).args(["command", "print_prompt", "file"])))]
pub struct Arguments {
    /// Run this for each batch, by the shell: it gets the prompt on stdin and answers with JSON lines
    #[arg(long, value_name = "PROGRAM ARGS")]
    command: Option<String>,
    /// Print the prompt for the next batch, to be answered by hand; the answer goes to --file
    #[arg(long)]
    print_prompt: bool,
    /// Read an answer, `-` for stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Tools of this server only
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Tools in one batch
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    batch: u16,
    /// Language in which people will say their tasks, such as `German`
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,
    /// Also tools that have examples
    #[arg(long)]
    all: bool,
}

/// Teaches tools that have no example yet.
pub async fn run(arguments: Arguments, context: Context, out: &mut Output) -> anyhow::Result<Exit> {
    if let Some(server) = &arguments.server
        && !context.config.servers.contains_key(server)
    {
        return Err(
            UsageError(format!("unknown server \"{server}\"; `orchestrator status` shows all")).into()
        );
    }
    let orchestrator = context.start().await?;
    // Whatever the pack has is used before anybody is asked.
    orchestrator.library.teach(Vec::new(), Source::User).await?;
    let outcome = teach(&arguments, &orchestrator, out).await;
    orchestrator.shutdown().await;
    outcome
}

async fn teach(arguments: &Arguments, orchestrator: &Orchestrator, out: &mut Output) -> anyhow::Result<Exit> {
    let language = arguments.language.as_deref();
    if let Some(file) = &arguments.file {
        let examples = examples::read_file(file)?;
        let taught = orchestrator.library.teach(examples, Source::Command).await?;
        examples::report(&taught, out)?;
        return Ok(Exit::Done);
    }
    let tools = wanted(arguments, orchestrator);
    let batches: Vec<&[Tool]> = tools.chunks(usize::from(arguments.batch)).collect();
    let Some(command) = &arguments.command else {
        match batches.first() {
            Some(batch) => out.raw(prompt::prompt(*batch, language).as_bytes())?,
            None => out.line("every tool has examples")?,
        }
        return Ok(Exit::Done);
    };
    let bar = progress_bar(tools.len(), out);
    let mut all: Vec<Taught> = Vec::new();
    for batch in batches {
        let answer = ask(command, &prompt::prompt(batch, language)).await?;
        let asked: HashSet<String> = batch.iter().map(Tool::id).collect();
        let answer = prompt::read(&answer, |tool| asked.contains(tool), language);
        for problem in answer.problems {
            tracing::warn!("left out of the answer: {problem}");
        }
        // Kept batch by batch, so that an interrupted run goes on where it stopped.
        all.extend(orchestrator.library.teach(answer.examples, Source::Command).await?);
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    examples::report(&all, out)?;
    let untaught = if arguments.all { 0 } else { wanted(arguments, orchestrator).len() };
    if untaught > 0 {
        tracing::warn!("{untaught} tools still have no example");
    }
    Ok(Exit::Done)
}

fn wanted(arguments: &Arguments, orchestrator: &Orchestrator) -> Vec<Tool> {
    let snapshot = orchestrator.library.snapshot();
    let places = (0..snapshot.len()).filter(|place| arguments.all || snapshot.examples(*place).is_empty());
    places
        .map(|place| snapshot.tool(place).clone())
        .filter(|tool| arguments.server.as_ref().is_none_or(|server| *server == tool.server))
        .collect()
}

/// Runs the program once.
async fn ask(command: &str, prompt: &str) -> anyhow::Result<String> {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut child = Command::new(shell)
        .args([flag, command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take();
    let running = async {
        let write = async {
            if let Some(mut stdin) = stdin {
                // A program may answer without reading all of it.
                stdin.write_all(prompt.as_bytes()).await.ok();
            }
        };
        let ((), output) = tokio::join!(write, child.wait_with_output());
        output
    };
    let output = timeout(PATIENCE, running).await.map_err(|_| {
        anyhow::anyhow!("`{command}` did not answer within {} minutes", PATIENCE.as_secs() / 60)
    })??;
    if !output.status.success() {
        anyhow::bail!("`{command}` failed: {}; what was taught before is kept", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(tools: usize, out: &Output) -> ProgressBar {
    if out.is_json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(tools as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} tools taught  {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
