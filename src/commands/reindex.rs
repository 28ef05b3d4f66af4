//! `orchestrator reindex`: starts every server once, lists its tools and embeds what is new.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Context, UsageError, output::Output};
use crate::{
    catalog::text,
    child::{Listing, nearest},
    cli::Exit,
    config::Transport,
    examples::Filter,
    index::Library,
    orchestrator::Orchestrator,
    report,
};

/// Servers that are listed at the same time; more would make each of them slower.
const CONCURRENT_STARTS: usize = 4;
/// Servers whose lists are made or wait to be taken in: what waits takes memory.
const WAITING_SERVERS: usize = 64;

/// Options of `reindex`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// This server only; may be given several times
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,
    /// Write and embed every tool anew, also where nothing changed
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    servers: Vec<ServerSummary>,
    tools: usize,
    embedded: usize,
    failed: usize,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    words_only: Option<String>,
}

#[derive(Debug, Serialize)]
struct ServerSummary {
    server: String,
    tools: usize,
    added: usize,
    changed: usize,
    removed: usize,
    embedded: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    words_only: Option<String>,
}

/// Reindexes all servers, or those named.
pub async fn run(arguments: Arguments, context: Context, out: &mut Output) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let wanted = wanted(&arguments, &context)?;
    let orchestrator = context.start_without_listening()?;
    let bar = progress_bar(wanted.len(), out);
    let (starts, places) =
        (Arc::new(Semaphore::new(CONCURRENT_STARTS)), Arc::new(Semaphore::new(WAITING_SERVERS)));
    let mut tasks = JoinSet::new();
    for server in wanted {
        let (starts, places) = (Arc::clone(&starts), Arc::clone(&places));
        let (pool, library, bar) = (orchestrator.pool.clone(), orchestrator.library.clone(), bar.clone());
        let force = arguments.force;
        tasks.spawn(async move {
            let _place = places.acquire().await;
            let turn = starts.acquire().await;
            let listing = pool.acquire(&server).await.map(|connection| connection.listing());
            // It has told all that is wanted of it.
            pool.close(&server);
            // Others may start while it is taken in.
            drop(turn);
            let summary = match listing {
                Ok(listing) => take_in(&library, listing, force, &bar).await,
                Err(error) => failed(server, report::chain(&*error)),
            };
            bar.inc(1);
            summary
        });
    }
    let mut servers = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        servers.push(finished?);
    }
    bar.finish_and_clear();
    servers.sort_by(|left, right| left.server.cmp(&right.server));
    if let Err(error) = prune(&orchestrator) {
        tracing::warn!("vectors of tools that are gone were kept: {}", report::chain(&*error));
    }
    orchestrator.shutdown().await;
    let summary = Summary {
        tools: servers.iter().map(|server| server.tools).sum(),
        embedded: servers.iter().map(|server| server.embedded).sum(),
        failed: servers.iter().filter(|server| server.error.is_some()).count(),
        words_only: servers.iter().find_map(|server| server.words_only.clone()),
        seconds: started.elapsed().as_secs_f64(),
        servers,
    };
    print(&summary, &orchestrator, out)?;
    Ok(if summary.failed == 0 { Exit::Done } else { Exit::Failed })
}

/// Drops the vectors of texts that are gone.
fn prune(orchestrator: &Orchestrator) -> anyhow::Result<()> {
    let examples = orchestrator.examples.list(&Filter::default())?;
    let kept = examples.iter().map(|example| text::example_hash(&example.text)).collect();
    orchestrator.store.prune_vectors(&kept)?;
    Ok(())
}

/// The servers to index: those named, else all that can be started.
fn wanted(arguments: &Arguments, context: &Context) -> anyhow::Result<Vec<String>> {
    let servers = &context.config.servers;
    if arguments.servers.is_empty() {
        return Ok(servers
            .iter()
            .filter(|(_, server)| !server.disabled && !matches!(server.transport, Transport::Remote(_)))
            .map(|(name, _)| name.clone())
            .collect());
    }
    for name in &arguments.servers {
        if !servers.contains_key(name) {
            let near = nearest(name, servers.keys().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            return Err(UsageError(format!("unknown server \"{name}\"{hint}")).into());
        }
    }
    Ok(arguments.servers.clone())
}

async fn take_in(library: &Library, listing: Arc<Listing>, force: bool, bar: &ProgressBar) -> ServerSummary {
    let listing = Arc::unwrap_or_clone(listing);
    let (server, tools) = (listing.server.clone(), listing.tools.len());
    let shown = bar.clone();
    let name = server.clone();
    let mut done = 0;
    let progress = Box::new(move |more: usize, all: usize| {
        done += more;
        shown.set_message(format!("{name}: {done} of {all} tools embedded"));
    });
    match library.apply(listing, force, Some(progress)).await {
        Ok(report) => ServerSummary {
            server,
            tools,
            added: report.changes.added.len(),
            changed: report.changes.changed.len(),
            removed: report.changes.removed.len(),
            embedded: report.embedded,
            error: None,
            words_only: report.embed_error.map(|error| report::chain(&*error)),
        },
        Err(error) => failed(server, report::chain(&error)),
    }
}

fn failed(server: String, error: String) -> ServerSummary {
    ServerSummary {
        server,
        tools: 0,
        added: 0,
        changed: 0,
        removed: 0,
        embedded: 0,
        error: Some(error),
        words_only: None,
    }
}

/// A bar on a terminal, nothing elsewhere.
fn progress_bar(servers: usize, out: &Output) -> ProgressBar {
    if out.is_json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(servers as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} servers  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn print(summary: &Summary, orchestrator: &Orchestrator, out: &mut Output) -> std::io::Result<()> {
    if out.is_json() {
        return out.json(summary);
    }
    if let Some(reason) = &summary.words_only {
        tracing::warn!("tools can be found by words only: {reason}");
    }
    let listed = summary.servers.len() - summary.failed;
    let failed = if summary.failed > 0 { format!(", {} failed", summary.failed) } else { String::new() };
    let servers = if listed == 1 { "server" } else { "servers" };
    out.line(format!(
        "{listed} {servers} with {} tools indexed ({} embedded) in {:.1} s{failed}; {}",
        summary.tools,
        summary.embedded,
        summary.seconds,
        orchestrator.store.file().display()
    ))
}
