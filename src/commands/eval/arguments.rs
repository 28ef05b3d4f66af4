//! Arguments from the words of a task, against the labelled ones: for the right tool, and for the tool that
//! the ranking puts first.

use std::{collections::HashMap, time::Instant};

use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::{Value, json};

use super::{QueryLine, judge as judge_route, median};
use crate::{
    catalog::Tool,
    commands::output::Output,
    config::ExecuteSettings,
    execute::fill,
    index::Snapshot,
    router::{Route, ms},
};

/// Shares of the queries of one slot that have labelled arguments.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct ArgumentFigures {
    /// Queries counted.
    args_queries: u32,
    /// The arguments are the labelled ones.
    args_exact: f64,
    /// Of those it would call with, how many are.
    args_precision: f64,
    /// How many it would call with.
    args_coverage: f64,
    /// The same, where the tool that comes first has to be right as well.
    joint_args_exact: f64,
    joint_args_precision: f64,
    joint_args_coverage: f64,
    /// Median time to fill in, in ms.
    args_ms: f64,
}

impl ArgumentFigures {
    /// The figures in a sentence.
    pub(super) fn line(&self) -> String {
        format!(
            "arguments of {} queries, given the right tool: exact {:.3}, certain {:.3}, of these exact {:.3}; \
             with the tool that comes first: {:.3}, {:.3}, {:.3}; median {:.2} ms",
            self.args_queries,
            self.args_exact,
            self.args_coverage,
            self.args_precision,
            self.joint_args_exact,
            self.joint_args_coverage,
            self.joint_args_precision,
            self.args_ms
        )
    }
}

/// Counts of one task of both.
#[derive(Default)]
struct Counts {
    exact: u32,
    called: u32,
    called_exact: u32,
}

impl Counts {
    fn add(&mut self, right: bool, called: bool) {
        self.exact += u32::from(right);
        self.called += u32::from(called);
        self.called_exact += u32::from(right && called);
    }
}

/// What filling in is worth; none where no query has labelled arguments. With `explained`, what is not as
/// labelled is shown.
pub(super) fn judge<'a>(
    snapshot: &Snapshot,
    routed: impl Iterator<Item = (&'a QueryLine, &'a Route)>,
    settings: &ExecuteSettings,
    mut explained: Option<&mut Output>,
) -> anyhow::Result<Option<ArgumentFigures>> {
    let tools: HashMap<String, &Tool> = snapshot.tools().map(|tool| (tool.id(), tool)).collect();
    let (mut given, mut joint, mut queries, mut times) =
        (Counts::default(), Counts::default(), 0, Vec::new());
    for (query, route) in routed {
        let (Some(labelled), [slot]) = (&query.arguments, query.relevant.as_slice()) else { continue };
        let Some(tool) = slot.iter().find_map(|id| tools.get(id)) else { continue };
        let started = Instant::now();
        let filled = fill(tool, &query.query);
        times.push(ms(started.elapsed()));
        queries += 1;
        let is_right = same(&filled.arguments, labelled);
        given.add(is_right, filled.certain);
        if let (Some(out), false) = (&mut explained, is_right) {
            out.line(&query.query)?;
            let calls = if filled.certain { "called with" } else { "understood" };
            out.line(format!(
                "  {} {calls} {}, not {}",
                tool.id(),
                json!(filled.arguments),
                json!(labelled)
            ))?;
        }
        if let Some(best) = route.best() {
            let filled = fill(&best.tool, &query.query);
            let is_right = judge_route(route, query).hit_at(1) && same(&filled.arguments, labelled);
            joint.add(is_right, filled.certain && best.confidence >= settings.ambiguous_below);
        }
    }
    let share = |part: u32, whole: u32| if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) };
    Ok((queries > 0).then(|| ArgumentFigures {
        args_queries: queries,
        args_exact: share(given.exact, queries),
        args_precision: share(given.called_exact, given.called),
        args_coverage: share(given.called, queries),
        joint_args_exact: share(joint.exact, queries),
        joint_args_precision: share(joint.called_exact, joint.called),
        joint_args_coverage: share(joint.called, queries),
        args_ms: median(times),
    }))
}

/// Equal but for case, spaces at the ends, and whether a number is written as a text.
fn same(left: &JsonObject, right: &JsonObject) -> bool {
    let plain = |value: &Value| match value {
        Value::String(text) => {
            text.parse::<f64>().map_or_else(|_| text.trim().to_lowercase(), |number| number.to_string())
        }
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
        }
        other => other.to_string().to_lowercase(),
    };
    left.len() == right.len()
        && left.iter().all(|(name, value)| right.get(name).is_some_and(|other| plain(other) == plain(value)))
}
