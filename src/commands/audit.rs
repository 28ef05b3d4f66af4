//! `orchestrator audit`: the newest routing decisions and calls.

use super::output::Output;
use crate::{audit, cli::Exit, config::Paths};

/// Options of `audit`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many rows to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

/// Prints the trail, newest first.
pub fn run(arguments: &Arguments, paths: &Paths, out: &mut Output) -> anyhow::Result<Exit> {
    let rows = audit::read(&paths.audit(), arguments.limit)?;
    if out.is_json() {
        out.json(&rows)?;
        return Ok(Exit::Done);
    }
    let shown = rows.into_iter().map(|row| {
        let tool = match (row.server, row.tool) {
            (Some(server), Some(tool)) => format!("{server}:{tool}"),
            _ => "-".to_owned(),
        };
        let confidence =
            row.confidence.map_or_else(|| "-".to_owned(), |confidence| format!("{confidence:.2}"));
        let stages = row.durations.as_object().into_iter().flatten();
        // No stages are 0.0 ms; the sum of nothing would be -0.0.
        let took = stages.filter_map(|(_, time)| time.as_f64()).fold(0.0, |sum, time| sum + time);
        let told = row.error.or(row.task).unwrap_or_default();
        vec![row.time, row.kind, tool, confidence, row.outcome, format!("{took:.1}"), told]
    });
    out.table(&["time", "kind", "tool", "confidence", "outcome", "ms", "task or error"], shown)?;
    Ok(Exit::Done)
}
