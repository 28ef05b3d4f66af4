//! `orchestrator search`: ranked tools for a text, with what they were ranked by.

use serde_json::{Value, json};

use super::{Context, UsageError, output::Output};
use crate::{
    cli::Exit,
    execute::CandidateView,
    report,
    router::{Route, explain::Explanation},
};

/// Tools that are ranked where servers are wanted.
const TOOLS_FOR_SERVERS: usize = 100;

/// Options of `search`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What is wanted, in plain language
    query: String,
    /// Look on this server only
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// How many tools to show
    #[arg(long, default_value_t = 10, value_name = "N")]
    limit: usize,
    /// Show why each tool stands where it does: the facts, what each counts, and their sum
    #[arg(long)]
    explain: bool,
    /// Rank servers instead of tools
    #[arg(long, conflicts_with_all = ["explain", "server"])]
    servers: bool,
}

/// Ranks tools and prints them.
pub async fn run(arguments: Arguments, context: Context, out: &mut Output) -> anyhow::Result<Exit> {
    if let Some(server) = &arguments.server
        && !context.config.servers.contains_key(server)
    {
        return Err(
            UsageError(format!("unknown server \"{server}\"; `orchestrator status` shows all")).into()
        );
    }
    let orchestrator = context.start().await?;
    if orchestrator.library.snapshot().is_empty() {
        tracing::warn!("no tool is known yet; run `orchestrator reindex` first");
    }
    let tools = if arguments.servers { TOOLS_FOR_SERVERS } else { arguments.limit };
    let route = orchestrator.executor.search(&arguments.query, arguments.server.clone(), tools).await?;
    orchestrator.shutdown().await;
    let degraded = route.degraded.as_ref().map(|reason| report::chain(&**reason));
    if let Some(reason) = &degraded {
        tracing::warn!("searched by words only: {reason}");
    }
    if arguments.servers {
        return print_servers(&arguments, &route, degraded.as_deref(), out);
    }
    let views: Vec<CandidateView> = route.candidates.iter().map(CandidateView::from).collect();
    let explanations = route.candidates.iter().map(Explanation::from);
    if out.is_json() {
        let mut results: Vec<Value> = views.iter().map(|view| json!(view)).collect();
        if arguments.explain {
            for (result, explanation) in results.iter_mut().zip(explanations) {
                result["explanation"] = json!(explanation);
            }
        }
        out.json(&json!({"query": arguments.query, "results": results, "timings": route.timings, "degraded": degraded}))?;
    } else if arguments.explain {
        for (view, explanation) in views.iter().zip(explanations) {
            out.line(format!("{}:{}  {:.2}", view.tool.server, view.tool.tool, view.confidence))?;
            for line in explanation.lines() {
                out.line(format!("  {line}"))?;
            }
        }
    } else if !views.is_empty() {
        let rows = views.iter().map(|view| {
            vec![
                format!("{}:{}", view.tool.server, view.tool.tool),
                format!("{:.2}", view.confidence),
                format!("{:.3}", view.score),
                view.dense.map_or_else(|| "-".to_owned(), |dense| format!("{dense:.3}")),
                view.example.map_or_else(|| "-".to_owned(), |example| format!("{example:.3}")),
                format!("{:.3}", view.lexical),
                view.tool.description.clone(),
            ]
        });
        out.table(&["tool", "confidence", "score", "text", "example", "words", "description"], rows)?;
    }
    Ok(if views.is_empty() { Exit::NotDone } else { Exit::Done })
}

fn print_servers(
    arguments: &Arguments,
    route: &Route,
    degraded: Option<&str>,
    out: &mut Output,
) -> anyhow::Result<Exit> {
    let mut servers = route.servers();
    servers.truncate(arguments.limit);
    if out.is_json() {
        out.json(&json!({"query": arguments.query, "results": servers, "timings": route.timings, "degraded": degraded}))?;
    } else if !servers.is_empty() {
        let rows = servers.iter().map(|found| {
            vec![
                found.server.clone(),
                format!("{:.2}", found.share),
                found.tool.clone(),
                format!("{:.2}", found.confidence),
            ]
        });
        out.table(&["server", "share", "best tool", "confidence"], rows)?;
    }
    Ok(if servers.is_empty() { Exit::NotDone } else { Exit::Done })
}
