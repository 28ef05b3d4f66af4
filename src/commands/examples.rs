//! `orchestrator examples`: the example tasks by which tools are found: list them, add to them, take
//! them out, switch their sources on and off.

use std::{collections::BTreeMap, fs, io::Read, path::PathBuf};

use serde_json::json;

use super::{Context, UsageError, output::Output};
use crate::{
    cli::Exit,
    config::Paths,
    examples::{ExampleLine, ExampleStore, Filter, NewExample, Pack, Source, State},
    index::{Taught, Verdict},
    orchestrator::Orchestrator,
};

/// Verbs of `examples`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show examples: by which tools are found, and which are set aside and why
    List {
        /// Which are meant
        #[command(flatten)]
        which: Which,
        /// Those that are set aside only
        #[arg(long)]
        doubtful: bool,
    },
    /// Add examples of one tool
    Add {
        /// The tool, as `server:tool`
        tool: String,
        /// What people say when they need it
        #[arg(required = true)]
        tasks: Vec<String>,
        /// Their language, such as `de`
        #[arg(long, value_name = "TAG")]
        language: Option<String>,
    },
    /// Take examples out, by their numbers or by tool or source
    Rm {
        /// Numbers, as `list` shows them
        ids: Vec<i64>,
        /// Which are meant
        #[command(flatten)]
        which: Which,
    },
    /// Add examples from JSON lines: `{"tool": "server:tool", "tasks": ["…"], "language": "en"}`
    Import {
        /// The file, `-` for stdin
        file: PathBuf,
    },
    /// Write the examples in use as JSON lines
    Export {
        /// Which are meant
        #[command(flatten)]
        which: Which,
        /// All examples that are shipped with this program instead, whatever servers there are
        #[arg(long)]
        shipped: bool,
    },
    /// Use the examples of a source again
    On {
        /// The source
        source: Source,
    },
    /// Use no examples of a source any more, and take none from it
    Off {
        /// The source
        source: Source,
        /// Delete what it gave
        #[arg(long)]
        forget: bool,
    },
}

/// Which examples are meant.
#[derive(Debug, Default, clap::Args)]
pub struct Which {
    /// Of this server only
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Of this tool only, as `server:tool`
    #[arg(long, value_name = "TOOL")]
    tool: Option<String>,
    /// From this source only
    #[arg(long, value_name = "SOURCE")]
    source: Option<Source>,
}

impl Which {
    /// Those from a source.
    pub(super) fn of(source: Source) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    fn filter(self, state: Option<State>) -> anyhow::Result<Filter> {
        let (server, tool) = match self.tool {
            Some(tool) => {
                let (server, tool) = split(&tool)?;
                (Some(server), Some(tool))
            }
            None => (self.server, None),
        };
        Ok(Filter { server, tool, source: self.source, state })
    }
}

/// Verbs that only look at the examples; all others are given back.
pub fn run_alone(command: Command, paths: &Paths, out: &mut Output) -> anyhow::Result<Result<Exit, Command>> {
    let open = || ExampleStore::open(&paths.examples());
    match command {
        Command::List { which, doubtful } => {
            let filter = which.filter(doubtful.then_some(State::Doubtful))?;
            list(&open()?, &filter, out)?;
        }
        Command::Export { shipped: true, .. } => {
            for line in Pack::shipped().lines() {
                out.line(serde_json::to_string(&line)?)?;
            }
        }
        Command::Export { which, .. } => {
            let examples = open()?.list(&which.filter(Some(State::Kept))?)?;
            let mut lines: BTreeMap<(String, Option<String>), Vec<String>> = BTreeMap::new();
            for example in examples {
                let tool = format!("{}:{}", example.server, example.tool);
                lines.entry((tool, example.language)).or_default().push(example.text);
            }
            for ((tool, language), tasks) in lines {
                out.line(serde_json::to_string(&ExampleLine { tool, tasks, language })?)?;
            }
        }
        other => return Ok(Err(other)),
    }
    Ok(Ok(Exit::Done))
}

/// Verbs that change examples, after which tools are found by others.
pub async fn run(command: Command, context: Context, out: &mut Output) -> anyhow::Result<Exit> {
    // Before anything is started, so that a mistake changes nothing.
    let change = read(command)?;
    let orchestrator = context.start().await?;
    let done = apply(change, &orchestrator, out).await;
    orchestrator.shutdown().await;
    done
}

/// A change, with what it needs from outside.
enum Change {
    Add(Vec<NewExample>),
    Remove { ids: Vec<i64>, filter: Filter },
    Switch { source: Source, on: bool, forget: bool },
}

fn read(command: Command) -> anyhow::Result<Change> {
    Ok(match command {
        Command::Add { tool, tasks, language } => {
            let (server, tool) = split(&tool)?;
            let example = |text| NewExample {
                server: server.clone(),
                tool: tool.clone(),
                text,
                language: language.clone(),
            };
            Change::Add(tasks.into_iter().map(example).collect())
        }
        Command::Import { file } => Change::Add(read_file(&file)?),
        Command::Rm { ids, which } => {
            let filter = which.filter(None)?;
            if ids.is_empty() && filter.server.is_none() && filter.source.is_none() {
                return Err(UsageError("say which: numbers, --server, --tool or --source".to_owned()).into());
            }
            Change::Remove { ids, filter }
        }
        Command::On { source } => Change::Switch { source, on: true, forget: false },
        Command::Off { source, forget } => Change::Switch { source, on: false, forget },
        Command::List { .. } | Command::Export { .. } => Change::Add(Vec::new()),
    })
}

async fn apply(change: Change, orchestrator: &Orchestrator, out: &mut Output) -> anyhow::Result<Exit> {
    let (store, library) = (&orchestrator.examples, &orchestrator.library);
    match change {
        Change::Add(examples) => {
            let taught = library.teach(examples, Source::User).await?;
            report(&taught, out)?;
            let any_unknown = taught.iter().any(|taught| taught.verdict == Verdict::UnknownTool);
            return Ok(if any_unknown { Exit::Failed } else { Exit::Done });
        }
        Change::Remove { ids, filter } => {
            let chosen: Vec<i64> = store
                .list(&filter)?
                .iter()
                .map(|example| example.id)
                .filter(|id| ids.is_empty() || ids.contains(id))
                .collect();
            if let Some(unknown) = ids.iter().find(|id| !chosen.contains(id)) {
                let told = format!("there is no example {unknown}; `orchestrator examples list` shows all");
                return Err(UsageError(told).into());
            }
            let removed = store.remove(&chosen)?;
            told(out, "removed", removed, &format!("{removed} examples taken out"))?;
        }
        Change::Switch { source, on: true, .. } => {
            store.switch(source, true)?;
            told(out, "on", source.name(), &format!("examples from {source} are used"))?;
        }
        Change::Switch { source, forget, .. } => {
            store.switch(source, false)?;
            let forgotten = if forget { store.forget(source)? } else { 0 };
            let more = if forget { format!("; {forgotten} deleted") } else { String::new() };
            told(out, "off", source.name(), &format!("examples from {source} are not used{more}"))?;
        }
    }
    // Nothing is found any more by what was taken out.
    library.teach(Vec::new(), Source::User).await?;
    Ok(Exit::Done)
}

/// Reads example lines. Errors name file and line.
pub(super) fn read_file(file: &PathBuf) -> anyhow::Result<Vec<NewExample>> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        fs::read_to_string(file).map(|content| text = content)
    };
    read.map_err(|error| UsageError(format!("cannot read {}: {error}", file.display())))?;
    let mut examples = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |problem: String| UsageError(format!("{}:{}: {problem}", file.display(), at + 1));
        let line: ExampleLine = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let tool = line.tool.clone();
        examples.extend(line.into_examples().ok_or_else(|| wrong(format!("\"{tool}\" is not server:tool")))?);
    }
    Ok(examples)
}

/// Says what became of examples.
pub(super) fn report(taught: &[Taught], out: &mut Output) -> anyhow::Result<()> {
    let count = |wanted: fn(&Verdict) -> bool| taught.iter().filter(|taught| wanted(&taught.verdict)).count();
    let kept = count(|verdict| *verdict == Verdict::Kept);
    let known = count(|verdict| *verdict == Verdict::Known);
    let waiting = count(|verdict| *verdict == Verdict::Waiting);
    let set_aside: Vec<_> = taught
        .iter()
        .filter_map(|taught| {
            let tool = format!("{}:{}", taught.example.server, taught.example.tool);
            match &taught.verdict {
                Verdict::Doubtful(reason) => Some((tool, &taught.example.text, reason.clone())),
                Verdict::UnknownTool => {
                    Some((tool, &taught.example.text, "there is no such tool".to_owned()))
                }
                Verdict::Off => Some((
                    tool,
                    &taught.example.text,
                    "its source is off; `orchestrator examples on` switches it on".to_owned(),
                )),
                Verdict::Kept | Verdict::Known | Verdict::Waiting => None,
            }
        })
        .collect();
    if out.is_json() {
        let aside: Vec<_> = set_aside
            .iter()
            .map(|(tool, text, reason)| json!({"tool": tool, "text": text, "reason": reason}))
            .collect();
        out.json(&json!({"kept": kept, "known": known, "waiting": waiting, "setAside": aside}))?;
        return Ok(());
    }
    for (tool, text, reason) in &set_aside {
        out.line(format!("set aside: {tool} \"{text}\": {reason}"))?;
    }
    let known = if known > 0 { format!(", {known} known already") } else { String::new() };
    let waiting = if waiting > 0 { format!(", {waiting} wait for the model") } else { String::new() };
    out.line(format!("{kept} examples kept, {} set aside{known}{waiting}", set_aside.len()))?;
    Ok(())
}

fn list(store: &ExampleStore, filter: &Filter, out: &mut Output) -> anyhow::Result<()> {
    let examples = store.list(filter)?;
    let off = store.sources_off()?;
    if out.is_json() {
        out.json(&json!({"examples": examples, "off": off}))?;
        return Ok(());
    }
    let rows = examples.iter().map(|example| {
        let state = if off.contains(&example.source) { "off" } else { example.state.name() };
        vec![
            example.id.to_string(),
            format!("{}:{}", example.server, example.tool),
            example.source.to_string(),
            example.language.clone().unwrap_or_default(),
            state.to_owned(),
            example.text.clone(),
            example.reason.clone().unwrap_or_default(),
        ]
    });
    out.table(&["number", "tool", "source", "language", "state", "example", "reason"], rows)?;
    Ok(())
}

fn told(out: &mut Output, key: &str, value: impl serde::Serialize, text: &str) -> std::io::Result<()> {
    if out.is_json() { out.json(&json!({key: value})) } else { out.line(text) }
}

fn split(tool: &str) -> anyhow::Result<(String, String)> {
    let parts = tool.split_once(':').or_else(|| tool.split_once("__"));
    let (server, tool) =
        parts.ok_or_else(|| UsageError(format!("\"{tool}\" is not a tool's full name, server:tool")))?;
    Ok((server.to_owned(), tool.to_owned()))
}
