//! `orchestrator eval`: the ranking measured on a labelled set, through the same store, encoder,
//! index and router as live servers.

mod evidence;
mod metrics;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::BufRead,
    path::{Path, PathBuf},
    sync::Arc,
};

use rmcp::model::{JsonObject, Tool as Definition};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use self::metrics::{Judged, Metrics};
use super::{UsageError, output::Output};
use crate::{
    catalog::{Store, Tool},
    child::{Listing, ServerInfo},
    cli::Exit,
    config::{ChildSettings, Paths, ServerConfig, Settings, Transport},
    embed::{Embedder, ModelSource},
    examples::{ExampleLine, ExampleStore, Filter, NewExample, Source, State},
    index::Library,
    router::{Mode, Route, Router, Scope},
};

/// Tools ranked for each query: more than the metrics at 10 need, since the reciprocal rank counts
/// later hits as well.
const DEPTH: usize = 100;

/// Options of `eval`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Tools, one JSON object a line: server, name, description, inputSchema
    #[arg(long, value_name = "FILE")]
    tools: PathBuf,
    /// Queries, one JSON object a line: query, relevant (slots of `server:tool` that would do)
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Example tasks, one JSON object a line: tool (`server:tool`), tasks; may be given several times.
    /// Without any none are used, nor those of the shipped pack
    #[arg(long, value_name = "FILE")]
    examples: Vec<PathBuf>,
    /// Which searches take part
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Write what the confidence is computed from, one line a query, for `scripts/fit_confidence.py`
    #[arg(long, value_name = "FILE", hide = true)]
    evidence: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolLine {
    server: String,
    name: String,
    description: Option<String>,
    input_schema: Option<JsonObject>,
}

#[derive(Debug, Deserialize)]
struct QueryLine {
    query: String,
    relevant: Vec<Vec<String>>,
}

/// Ranks every query and prints the metrics.
pub async fn run(
    arguments: Arguments,
    model: Option<String>,
    paths: &Paths,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let tools: Vec<ToolLine> = read_lines(&arguments.tools)?;
    let queries: Vec<QueryLine> = read_lines(&arguments.queries)?;
    let settings = Settings::default();
    let source = ModelSource { model: model.unwrap_or(settings.model.clone()), downloads: paths.models() };
    let embedder = Embedder::start(source);
    if arguments.mode != Mode::Lexical {
        embedder.ready().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    }
    let tool_count = tools.len();
    let servers: BTreeSet<String> = tools.iter().map(|tool| tool.server.clone()).collect();
    let mut lines: Vec<ExampleLine> = Vec::new();
    for file in &arguments.examples {
        lines.extend(read_lines::<ExampleLine>(file)?);
    }
    let (router, library) = index(tools, lines, &embedder, &settings).await?;

    let mut judged = Vec::with_capacity(queries.len());
    for query in &queries {
        let route = router.rank(&query.query, &Scope::default(), DEPTH, arguments.mode).await?;
        judged.push(judge(&route, query));
    }
    if let Some(file) = arguments.evidence {
        evidence::write(&file, &router, &servers, &queries, arguments.mode).await?;
    }
    let metrics = Metrics::of(&judged);
    let examples = library.snapshot().example_count();
    if out.is_json() {
        let mut value = json!({"queries": queries.len(), "tools": tool_count, "examples": examples});
        if let (Some(all), serde_json::Value::Object(measured)) = (value.as_object_mut(), json!(metrics)) {
            all.extend(measured);
        }
        out.json(&value)?;
    } else {
        out.line(format!("{} queries over {tool_count} tools with {examples} examples", queries.len()))?;
        out.table(
            &["H@1", "H@5", "R@5", "R@10", "nDCG@5", "MRR", "server H@1", "ECE", "none AUROC"],
            [metrics.row()],
        )?;
    }
    Ok(Exit::Done)
}

/// Takes the tools in as if their servers had listed them.
async fn index(
    tools: Vec<ToolLine>,
    examples: Vec<ExampleLine>,
    embedder: &Embedder,
    settings: &Settings,
) -> anyhow::Result<(Router, Library)> {
    let mut by_server: BTreeMap<String, Vec<Definition>> = BTreeMap::new();
    for tool in tools {
        let schema = Arc::new(tool.input_schema.unwrap_or_default());
        let definition = Definition::new(tool.name, tool.description.unwrap_or_default(), schema);
        by_server.entry(tool.server).or_default().push(definition);
    }
    let servers = by_server
        .keys()
        .map(|server| {
            let transport = Transport::Invalid("part of a labelled set".to_owned());
            (server.clone(), ServerConfig { transport, disabled: false, settings: ChildSettings::default() })
        })
        .collect();
    let store = Store::in_memory()?;
    let kept = keep(examples, &by_server)?;
    let library = Library::start(store.clone(), kept, embedder.clone(), &servers, settings.hnsw_threshold)?;
    let listings = by_server.into_iter().map(|(server, tools)| Listing {
        server,
        info: ServerInfo::default(),
        tools,
        warnings: Vec::new(),
    });
    library.apply_all(listings.collect()).await?;
    Ok((Router::new(library.clone(), store, embedder.clone()), library))
}

/// The examples as they are given, all of them kept.
fn keep(lines: Vec<ExampleLine>, tools: &BTreeMap<String, Vec<Definition>>) -> anyhow::Result<ExampleStore> {
    let store = ExampleStore::in_memory()?;
    store.switch(Source::Pack, false)?;
    let hashes: HashMap<String, String> = tools
        .iter()
        .flat_map(|(server, tools)| tools.iter().map(|tool| Tool::new(server, tool.clone())))
        .map(|tool| (tool.id(), tool.hash))
        .collect();
    let examples: Vec<NewExample> =
        lines.into_iter().filter_map(ExampleLine::into_examples).flatten().collect();
    store.add(&examples, Source::User)?;
    let given = store.list(&Filter::default())?;
    store.judge(given.iter().filter_map(|example| {
        let hash = hashes.get(&format!("{}:{}", example.server, example.tool))?;
        Some((example.id, State::Kept, None, hash.as_str()))
    }))?;
    Ok(store)
}

fn judge(route: &Route, query: &QueryLine) -> Judged {
    let ranked: Vec<String> = route.candidates.iter().map(|candidate| candidate.tool.id()).collect();
    Judged::new(&ranked, &query.relevant, route.best().map_or(0.0, |best| best.confidence))
}

/// A file of JSON lines. Errors name file and line.
fn read_lines<T: DeserializeOwned>(file: &Path) -> anyhow::Result<Vec<T>> {
    let open = fs::File::open(file)
        .map_err(|error| UsageError(format!("cannot read {}: {error}", file.display())))?;
    let mut values = Vec::new();
    for (at, line) in std::io::BufReader::new(open).lines().enumerate() {
        let line = line?;
        if !line.trim().is_empty() {
            let value = serde_json::from_str(&line)
                .map_err(|error| UsageError(format!("{}:{}: {error}", file.display(), at + 1)))?;
            values.push(value);
        }
    }
    Ok(values)
}
