//! The command line: its grammar, and from it to a command.

use std::{ffi::OsString, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::{
    commands::{self, Context, output::Output},
    config::{self, Config, Paths},
    report, telemetry,
};

/// How a command ended, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 1: it failed, or the called tool answered with an error.
    Failed,
    /// 3: nothing failed, but it was not done: arguments or a decision are missing, or nothing fits.
    NotDone,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::NotDone => 3,
        })
    }
}

/// Exit code for a mistake in the arguments or in the configuration.
const USAGE: u8 = 2;

/// One MCP server in front of all the others.
///
/// Say what you want; the right tool on the right server is found and called. Servers are those of
/// the configuration's `mcpServers`, the object that every MCP host uses.
#[derive(Debug, Parser)]
#[command(
    name = "orchestrator",
    version,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong arguments or configuration; 3 not done: arguments or a choice are missing, or nothing fits.\n\
                  Messages go to stderr, answers to stdout."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Configuration file with `mcpServers` [default: `$XDG_CONFIG_HOME/orchestrator/config.json`]
    #[arg(long, global = true, value_name = "FILE", env = "ORCHESTRATOR_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of catalog, audit trail and models [default: `$XDG_DATA_HOME/orchestrator`]
    #[arg(long, global = true, value_name = "DIR", env = "ORCHESTRATOR_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Embedding model: a known name, or a folder with a BERT-type sentence-transformer
    #[arg(long, global = true, value_name = "NAME|DIR", env = "ORCHESTRATOR_MODEL")]
    model: Option<String>,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// What is logged to stderr, such as `debug` or `warn,orchestrator=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "ORCHESTRATOR_LOG", hide_env_values = true)]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the four tools to an MCP host on stdin and stdout
    Serve,
    /// Start every server once, list its tools and embed what is new
    Reindex(commands::reindex::Arguments),
    /// Rank tools for a text, and say why; starts no server
    Search(commands::search::Arguments),
    /// Find the tool for a task and call it, or say what is missing
    Execute(commands::execute::Arguments),
    /// Call one tool by its name
    Call(commands::call::Arguments),
    /// Show servers, tools, model and files
    Status,
    /// Show the newest routing decisions and calls
    Audit(commands::audit::Arguments),
    /// Get, list or check embedding models
    #[command(subcommand)]
    Model(commands::model::Command),
    /// Show and change the example tasks by which tools are found
    #[command(subcommand)]
    Examples(commands::examples::Command),
    /// Show and change what is learned from use
    #[command(subcommand)]
    Feedback(commands::feedback::Command),
    /// Let a language model write example tasks for tools that have none
    Teach(commands::teach::Arguments),
    /// Measure the ranking on a labelled set
    Eval(commands::eval::Arguments),
    /// Print a completion script for a shell
    Completions(commands::completions::Arguments),
}

/// The whole program. `arguments` begin with the program's name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    #[cfg(target_os = "linux")]
    if arguments.get(1).is_some_and(|argument| argument == crate::child::guard::ARGUMENT) {
        return crate::child::guard::run(arguments.into_iter().skip(2));
    }
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows the stream of each.
            error.print().ok();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    telemetry::start(cli.global.log.as_deref());
    let runtime = match start_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error, 1),
    };
    let code = match runtime.block_on(run(cli)) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let usage = error.is::<config::ConfigError>() || error.is::<commands::UsageError>();
            complain(error.as_ref(), if usage { USAGE } else { 1 })
        }
    };
    // A read of stdin that is under way cannot be taken back; it must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

/// tokio panics where the system gives it no thread, and hangs while that panic unwinds. To the user it
/// is an error like any other.
#[expect(clippy::exit, reason = "nothing was begun yet that would have to be ended")]
fn start_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {
        let problem = "error: cannot start: the system gives no more threads (see `ulimit -u`)";
        writeln!(std::io::stderr(), "{problem}").ok();
        std::process::exit(1)
    }));
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    std::panic::set_hook(told);
    built
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let paths = Paths::resolve(cli.global.config.as_deref(), cli.global.data_dir.as_deref());
    let mut out = Output::new(cli.global.json);
    let model = cli.global.model;
    // What needs no configuration works without one.
    let command = match cli.command {
        Command::Model(command) => return commands::model::run(command, model, &paths, &mut out).await,
        Command::Eval(arguments) => return commands::eval::run(arguments, model, &paths, &mut out).await,
        Command::Completions(arguments) => {
            return commands::completions::run(&arguments, &mut Cli::command(), &mut out);
        }
        Command::Audit(arguments) => return commands::audit::run(&arguments, &paths, &mut out),
        command => command,
    };
    let command = match command {
        Command::Feedback(command) => Command::Examples(command.into()),
        command => command,
    };
    let command = match command {
        Command::Examples(command) => match commands::examples::run_alone(command, &paths, &mut out)? {
            Ok(exit) => return Ok(exit),
            Err(command) => Command::Examples(command),
        },
        command => command,
    };
    let mut config: Config = config::load(&paths.config)?;
    if let Some(model) = model {
        config.settings.model = model;
    }
    let context = Context { config, paths };
    match command {
        Command::Serve => Box::pin(commands::serve::run(context)).await,
        Command::Reindex(arguments) => commands::reindex::run(arguments, context, &mut out).await,
        Command::Search(arguments) => commands::search::run(arguments, context, &mut out).await,
        Command::Execute(arguments) => Box::pin(commands::execute::run(arguments, context, &mut out)).await,
        Command::Call(arguments) => commands::call::run(arguments, context, &mut out).await,
        Command::Examples(command) => commands::examples::run(command, context, &mut out).await,
        Command::Teach(arguments) => commands::teach::run(arguments, context, &mut out).await,
        Command::Status => commands::status::run(context, &mut out).await,
        Command::Model(_)
        | Command::Eval(_)
        | Command::Completions(_)
        | Command::Audit(_)
        | Command::Feedback(_) => Ok(Exit::Done),
    }
}

fn complain(error: &dyn std::error::Error, code: u8) -> ExitCode {
    writeln!(std::io::stderr(), "error: {}", report::chain(error)).ok();
    ExitCode::from(code)
}

/// Whoever read our output has enough of it: `orchestrator status | head -1`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }
}
