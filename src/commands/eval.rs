//! `orchestrator eval`: the ranking measured on a labelled set, through the same store, encoder,
//! index and router as live servers.

mod arguments;
mod compare;
mod decisions;
mod evidence;
mod metrics;
mod print;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::BufRead,
    path::{Path, PathBuf},
    sync::Arc,
};

use rmcp::model::{JsonObject, Tool as Definition, ToolAnnotations};
use serde::{Deserialize, de::DeserializeOwned};

use self::{
    evidence::Asked,
    metrics::{Judged, Metrics},
    print::Report,
};
use super::{UsageError, output::Output};
use crate::{
    catalog::{Store, Tool},
    child::{Listing, ServerInfo},
    cli::Exit,
    config::{ChildSettings, Paths, ServerConfig, Settings, Transport},
    embed::{Embedder, ModelFacts, ModelSource},
    examples::{ExampleLine, ExampleStore, Filter, NewExample, Source, State},
    index::Library,
    router::{Mode, Route, Router, Scope},
    weights,
};

/// Tools ranked for each query: more than the metrics at 10 need, since the reciprocal rank counts
/// later hits as well.
const DEPTH: usize = 100;

/// Options of `eval`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "options that do not depend on each other")]
pub struct Arguments {
    /// Tools, one JSON object a line: server, name, description, inputSchema
    #[arg(long, value_name = "FILE")]
    tools: PathBuf,
    /// Queries, one JSON object a line: query, relevant (slots of `server:tool` that would do), and
    /// split where parts of the set are to be told apart
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Example tasks, one JSON object a line: tool (`server:tool`), tasks; may be given several times.
    /// Without any none are used, nor those of the shipped pack
    #[arg(long, value_name = "FILE")]
    examples: Vec<PathBuf>,
    /// Which searches take part
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Tell between which values each figure lies in 95 of 100 samples of the queries
    #[arg(long)]
    intervals: bool,
    /// Tell how well arguments are filled in from the words of the queries
    #[arg(long = "arguments")]
    fill: bool,
    /// Tell what `execute` would do with each query: call, ask, or decline
    #[arg(long)]
    decisions: bool,
    /// Show each query whose first tool is wrong: what came first, and where the first right one is. With
    /// --arguments or --decisions, show those instead
    #[arg(long)]
    explain: bool,
    /// Keep what each query was worth in this file, for --compare
    #[arg(long, value_name = "FILE")]
    outcomes: Option<PathBuf>,
    /// Show the figures beside those of an earlier run's --outcomes, with a paired test
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Keep the vectors of all tools and examples in this file, so that the next run is quick
    #[arg(long, value_name = "FILE")]
    vectors: Option<PathBuf>,
    /// Use these weights in place of models/ranking.json, which is part of the program
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
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
    annotations: Option<ToolAnnotations>,
}

#[derive(Debug, Deserialize)]
struct QueryLine {
    query: String,
    relevant: Vec<Vec<String>>,
    /// The right arguments of the first slot.
    arguments: Option<JsonObject>,
    /// The part of the set that it belongs to; each gets figures of its own.
    split: Option<String>,
}

/// Ranks every query and prints the metrics.
pub async fn run(
    arguments: Arguments,
    model: Option<String>,
    paths: &Paths,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    if let Some(file) = &arguments.weights {
        replace_weights(file)?;
    }
    let tools: Vec<ToolLine> = read_lines(&arguments.tools)?;
    let queries: Vec<QueryLine> = read_lines(&arguments.queries)?;
    let settings = Settings::default();
    let source = ModelSource { model: model.unwrap_or(settings.model.clone()), downloads: paths.models() };
    let embedder = Embedder::start(source);
    let facts = match arguments.mode {
        Mode::Lexical => None,
        _ => Some(embedder.ready().await.map_err(|error| anyhow::anyhow!("{error}"))?),
    };
    let tool_count = tools.len();
    let mut lines: Vec<ExampleLine> = Vec::new();
    for file in &arguments.examples {
        lines.extend(read_lines::<ExampleLine>(file)?);
    }
    let store = Store::in_memory()?;
    let kept = arguments.vectors.as_deref().map(Store::open).transpose()?;
    if let (Some(kept), Some(facts)) = (&kept, &facts) {
        copy_vectors(kept, &store, facts)?;
    }
    let (router, library) = index(tools, lines, &embedder, store.clone(), &settings).await?;
    if let (Some(kept), Some(facts)) = (&kept, &facts) {
        copy_vectors(&store, kept, facts)?;
    }

    let mut judged = Vec::with_capacity(queries.len());
    let mut routes = Vec::with_capacity(queries.len());
    for query in &queries {
        let route = router.rank(&query.query, &Scope::default(), DEPTH, arguments.mode).await?;
        let found = judge(&route, query);
        let is_lost = !query.relevant.is_empty() && !found.hit_at(1);
        if arguments.explain && !(arguments.fill || arguments.decisions) && is_lost {
            explain(query, &route, found.first_hit(), out)?;
        }
        judged.push(found);
        routes.push(route);
    }
    if let Some(file) = arguments.evidence {
        let snapshot = library.snapshot();
        let asked = Asked { router: &router, snapshot, embedder: &embedder, mode: arguments.mode };
        evidence::write(&file, asked, &queries).await?;
    }
    if let Some(file) = arguments.outcomes {
        compare::write(&file, &queries, &judged)?;
    }
    if let Some(file) = arguments.compare {
        compare::print(&file, &queries, &judged, out)?;
        return Ok(Exit::Done);
    }
    let routed = || queries.iter().zip(&routes);
    let explained = arguments.explain.then_some(&mut *out);
    let filled = if arguments.fill {
        arguments::judge(&library.snapshot(), routed(), &settings.execute, explained)?
    } else {
        None
    };
    let explained = arguments.explain.then_some(&mut *out);
    let decisions = if arguments.decisions {
        Some(decisions::count(routed(), &settings.execute, explained)?)
    } else {
        None
    };
    let judgements: Vec<&Judged> = judged.iter().collect();
    let report = Report {
        tools: tool_count,
        examples: library.snapshot().example_count(),
        search_ms: median(routes.iter().map(|route| route.timings.search_ms).collect()),
        metrics: Metrics::of(&judgements),
        servers: server_metrics(routed()),
        intervals: arguments.intervals.then(|| metrics::intervals(&judgements)),
        arguments: filled,
        decisions,
        splits: splits(&queries, &judged),
    };
    report.print(out)?;
    Ok(Exit::Done)
}

fn replace_weights(file: &Path) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)
        .map_err(|error| UsageError(format!("cannot read {}: {error}", file.display())))?;
    Ok(weights::replace(&text).map_err(|error| UsageError(format!("{}: {error}", file.display())))?)
}

/// Prints a query that was lost, what beat it, and the first right tool.
fn explain(
    query: &QueryLine,
    route: &Route,
    first_hit: Option<usize>,
    out: &mut Output,
) -> anyhow::Result<()> {
    out.line(&query.query)?;
    let shown = first_hit.map_or(2, |rank| rank - 1).clamp(1, 3);
    let right = first_hit.and_then(|rank| Some((rank, route.candidates.get(rank - 1)?)));
    for (rank, candidate) in (1..).zip(route.candidates.iter().take(shown)).chain(right) {
        let mark = if first_hit == Some(rank) { "right" } else { "" };
        let cosine = |value: Option<f32>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        let text = cosine(candidate.views.map(|views| views.text));
        let example = cosine(candidate.views.and_then(|views| Some(views.examples?.best)));
        out.line(format!(
            "  {rank:>3} {mark:5} {:44} score {:.3}, text {text}, example {example}, words {:.2}",
            candidate.tool.id(),
            candidate.score,
            candidate.lexical
        ))?;
    }
    if first_hit.is_none() {
        let wanted: Vec<&str> = query.relevant.iter().flatten().map(String::as_str).take(4).collect();
        out.line(format!("  not among the first {DEPTH}: {}", wanted.join(", ")))?;
    }
    Ok(())
}

/// Takes the tools in as if their servers had listed them.
async fn index(
    tools: Vec<ToolLine>,
    examples: Vec<ExampleLine>,
    embedder: &Embedder,
    store: Store,
    settings: &Settings,
) -> anyhow::Result<(Router, Library)> {
    let mut by_server: BTreeMap<String, Vec<Definition>> = BTreeMap::new();
    for tool in tools {
        let schema = Arc::new(tool.input_schema.unwrap_or_default());
        let mut definition = Definition::new(tool.name, tool.description.unwrap_or_default(), schema);
        definition.annotations = tool.annotations;
        by_server.entry(tool.server).or_default().push(definition);
    }
    let servers = by_server
        .keys()
        .map(|server| {
            let transport = Transport::Invalid("part of a labelled set".to_owned());
            (server.clone(), ServerConfig { transport, disabled: false, settings: ChildSettings::default() })
        })
        .collect();
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

/// The metrics with servers in place of tools.
fn server_metrics<'a>(routed: impl Iterator<Item = (&'a QueryLine, &'a Route)>) -> Metrics {
    let judged: Vec<Judged> = routed.map(|(query, route)| judge_servers(route, query)).collect();
    Metrics::of(&judged.iter().collect::<Vec<_>>())
}

fn judge_servers(route: &Route, query: &QueryLine) -> Judged {
    let server = |id: &String| id.split(':').next().unwrap_or_default().to_owned();
    let ranked: Vec<String> = route.servers().into_iter().map(|found| found.server).collect();
    let slots: Vec<Vec<String>> =
        query.relevant.iter().map(|slot| slot.iter().map(server).collect()).collect();
    Judged::new(&ranked, &slots, 0.0)
}

/// The figures of each part of the set in which anything can be found, by its name.
fn splits<'a>(queries: &'a [QueryLine], judged: &[Judged]) -> BTreeMap<&'a str, Metrics> {
    let mut parts: BTreeMap<&str, Vec<&Judged>> = BTreeMap::new();
    for (query, judged) in queries.iter().zip(judged) {
        if let Some(split) = &query.split
            && !query.relevant.is_empty()
        {
            parts.entry(split).or_default().push(judged);
        }
    }
    parts.into_iter().map(|(name, judged)| (name, Metrics::of(&judged))).collect()
}

fn copy_vectors(from: &Store, to: &Store, model: &ModelFacts) -> anyhow::Result<()> {
    let vectors = from.vectors(&model.id, model.dimensions)?;
    Ok(to.add_vectors(&model.id, vectors.iter().map(|(hash, vector)| (hash.as_str(), vector.as_slice())))?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
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
