//! What `execute` would do with each query, by the part of the set that it belongs to.

use std::{collections::BTreeMap, io};

use serde::Serialize;

use super::{QueryLine, judge};
use crate::{
    commands::output::Output,
    config::ExecuteSettings,
    execute::{self, Decision},
    router::Route,
};

/// How often each decision is made.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    queries: usize,
    call: usize,
    needs_confirmation: usize,
    needs_arguments: usize,
    ambiguous: usize,
    no_match: usize,
    /// Of the first three, those whose tool is none of the labelled ones.
    wrong_tool: usize,
}

impl Counts {
    pub(super) const COLUMNS: [&'static str; 7] =
        ["queries", "call", "confirmation", "arguments", "ambiguous", "no match", "wrong tool"];

    /// One row of a table.
    pub(super) fn row(&self) -> [String; 7] {
        let Self { queries, call, needs_confirmation, needs_arguments, ambiguous, no_match, wrong_tool } =
            *self;
        [queries, call, needs_confirmation, needs_arguments, ambiguous, no_match, wrong_tool]
            .map(|count| count.to_string())
    }
}

/// Counts decisions. With `explained`, each is shown.
pub(super) fn count<'a>(
    routed: impl Iterator<Item = (&'a QueryLine, &'a Route)>,
    settings: &ExecuteSettings,
    mut explained: Option<&mut Output>,
) -> io::Result<BTreeMap<String, Counts>> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for (query, route) in routed {
        let candidates = &route.candidates[..route.candidates.len().min(execute::CANDIDATES)];
        let decision = execute::decide(candidates, &query.query, None, settings);
        let count = counts.entry(query.split.clone().unwrap_or_default()).or_default();
        count.queries += 1;
        *match decision {
            Decision::Call(_) => &mut count.call,
            Decision::NeedsConfirmation(_) => &mut count.needs_confirmation,
            Decision::NeedsArguments { .. } => &mut count.needs_arguments,
            Decision::Ambiguous(_) => &mut count.ambiguous,
            Decision::NoMatch => &mut count.no_match,
        } += 1;
        let is_wrong = decision.choice().is_some() && !judge(route, query).hit_at(1);
        count.wrong_tool += usize::from(is_wrong);
        if let Some(out) = &mut explained {
            let best = route.best().map(|best| (best.tool.id(), best.confidence)).unwrap_or_default();
            let mark = if is_wrong { ", wrong" } else { "" };
            out.line(format!("{} ({}{mark}, {:.2}): {}", decision.name(), best.0, best.1, query.query))?;
            if let Decision::Call(request)
            | Decision::NeedsConfirmation(request)
            | Decision::NeedsArguments { request, .. } = decision
            {
                out.line(format!("  {}", serde_json::Value::Object(request.arguments)))?;
            }
        }
    }
    Ok(counts)
}
