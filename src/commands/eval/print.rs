//! What `eval` prints, as a table or as JSON.

use std::{collections::BTreeMap, io};

use serde_json::json;

use super::{
    arguments::ArgumentFigures,
    decisions::Counts,
    metrics::{FIGURES, Metrics},
};
use crate::commands::output::Output;

/// All that was measured.
pub(super) struct Report<'a> {
    pub(super) tools: usize,
    pub(super) examples: usize,
    /// Median time of a search after the embedding of a query, in ms.
    pub(super) search_ms: f64,
    pub(super) metrics: Metrics,
    /// The same of the servers as they are ranked by their tools together.
    pub(super) servers: Metrics,
    /// Between which values each of [`FIGURES`] lies.
    pub(super) intervals: Option<[[f64; 2]; 7]>,
    /// How well arguments are filled in.
    pub(super) arguments: Option<ArgumentFigures>,
    /// What `execute` would do, for each part of the set.
    pub(super) decisions: Option<BTreeMap<String, Counts>>,
    /// The figures of each part of the set.
    pub(super) splits: BTreeMap<&'a str, Metrics>,
}

impl Report<'_> {
    pub(super) fn print(&self, out: &mut Output) -> io::Result<()> {
        if out.is_json() { self.print_json(out) } else { self.print_table(out) }
    }

    fn print_json(&self, out: &mut Output) -> io::Result<()> {
        let mut value = json!({
            "tools": self.tools, "examples": self.examples, "searchMs": self.search_ms, "splits": self.splits,
            "servers": {"h1": self.servers.h1, "r5": self.servers.r5},
        });
        if let (Some(all), serde_json::Value::Object(measured)) = (value.as_object_mut(), json!(self.metrics))
        {
            all.extend(measured);
            if let serde_json::Value::Object(arguments) = json!(self.arguments) {
                all.extend(arguments);
            }
            if let Some(decisions) = &self.decisions {
                all.insert("decisions".to_owned(), json!(decisions));
            }
            if let Some(intervals) = self.intervals {
                let named = FIGURES.into_iter().zip(intervals).collect::<BTreeMap<_, _>>();
                all.insert("intervals".to_owned(), json!(named));
            }
        }
        out.json(&value)
    }

    fn print_table(&self, out: &mut Output) -> io::Result<()> {
        let (queries, tools, examples) = (self.metrics.queries, self.tools, self.examples);
        out.line(format!("{queries} queries over {tools} tools with {examples} examples"))?;
        out.line(format!("search after the embedding of a query: median {:.2} ms", self.search_ms))?;
        out.line(format!(
            "servers by their tools together: H@1 {:.3}, R@5 {:.3}",
            self.servers.h1, self.servers.r5
        ))?;
        if let Some(arguments) = &self.arguments {
            out.line(arguments.line())?;
        }
        if let Some(decisions) = &self.decisions {
            let rows = decisions
                .iter()
                .map(|(name, counts)| std::iter::once(name.clone()).chain(counts.row()).collect());
            let columns: Vec<&str> = std::iter::once("").chain(Counts::COLUMNS).collect();
            out.table(&columns, rows)?;
        }
        let row = |name: &str, metrics: &Metrics| {
            [name.to_owned(), metrics.queries.to_string()].into_iter().chain(metrics.row()).collect()
        };
        let interval = |intervals: [[f64; 2]; 7]| {
            let cells = intervals.map(|[low, high]| format!("{low:.2}-{high:.2}"));
            ["95 %".to_owned(), String::new()].into_iter().chain(cells).collect()
        };
        let rows = std::iter::once(row("all", &self.metrics))
            .chain(self.intervals.map(interval))
            .chain(self.splits.iter().map(|(name, metrics)| row(name, metrics)));
        out.table(
            &["", "", "H@1", "H@5", "R@5", "R@10", "nDCG@5", "MRR", "server H@1", "ECE", "none AUROC"],
            rows,
        )
    }
}
