//! From outcomes to MCP results. A child's own result passes through untouched; everything else is
//! a text that a model can act on, with the same facts as `structuredContent`.

use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, MetaObject, ResultType};
use serde_json::{Value, json};

use super::tools::Detail;
use crate::{
    catalog::Tool,
    child::ServerStatus,
    config::RESERVED_SERVER_NAME,
    execute::{CandidateView, Outcome, ResolveError, Routing, Target, ToolView},
    index::Snapshot,
    router::{Route, explain::Explanation},
};

/// Key of the routing facts in `_meta`.
pub(super) const META_KEY: &str = "orchestrator";

/// The response for an outcome. A child that asks a host of the 2026-07-28 protocol for input gets it
/// in a further call, which brings back what we say here of the one that waits.
pub(super) fn response(outcome: Outcome) -> CallToolResponse {
    match outcome {
        Outcome::InputRequired { mut wanted, pending, .. } => {
            wanted.request_state = serde_json::to_string(&pending).ok();
            CallToolResponse::InputRequired(*wanted)
        }
        other => result(other).into(),
    }
}

/// The result for an outcome. `failed` is an error; what only needs one more turn is not.
fn result(outcome: Outcome) -> CallToolResult {
    match outcome {
        Outcome::Done { routing, result } => with_routing(*result, &routing),
        other => {
            let mut result = facts(other.text(), other.structured());
            result.is_error = Some(matches!(other, Outcome::Failed { .. }));
            result
        }
    }
}

fn with_routing(mut result: CallToolResult, routing: &Routing) -> CallToolResult {
    let mut facts = json!(routing);
    facts["status"] = json!("done");
    // A child of an older protocol leaves it out; a host of the newest one requires it.
    result.result_type.get_or_insert(ResultType::COMPLETE);
    result.meta.get_or_insert_with(MetaObject::new).0.insert(META_KEY.to_owned(), facts);
    result
}

/// A mistake in the input of one of the four tools.
pub(super) fn bad_input(tool: &str, problem: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(format!("{tool}: {problem}"))])
}

/// Ranked tools.
pub(super) fn ranked(
    route: &Route,
    detail: Detail,
    ejected: &dyn Fn(&str) -> Option<String>,
) -> CallToolResult {
    let views: Vec<CandidateView> = route.candidates.iter().map(CandidateView::from).collect();
    let explanations: Vec<Option<Explanation>> = route
        .candidates
        .iter()
        .map(|candidate| (detail == Detail::Full).then(|| Explanation::from(candidate)))
        .collect();
    let lines = views.iter().zip(&explanations).map(|(view, explanation)| {
        let schema = (detail == Detail::Full).then_some(&view.input_schema);
        let why = explanation.iter().flat_map(Explanation::lines).map(|line| format!("\n  {line}"));
        let unavailable = ejected(&view.tool.server).map(|reason| format!("\n  not available now: {reason}"));
        line(&view.tool, Some(view.confidence), schema)
            + &why.collect::<String>()
            + &unavailable.unwrap_or_default()
    });
    let text =
        if views.is_empty() { "No tool found.".to_owned() } else { lines.collect::<Vec<_>>().join("\n") };
    let results: Vec<Value> = views
        .iter()
        .zip(&explanations)
        .map(|(view, explanation)| {
            let mut entry = match detail {
                Detail::Full => json!(view),
                Detail::Compact => compact(&view.tool, Some(view.confidence)),
            };
            if let Some(explanation) = explanation {
                entry["explanation"] = json!(explanation);
            }
            if let Some(reason) = ejected(&view.tool.server) {
                entry["unavailable"] = json!(reason);
            }
            entry
        })
        .collect();
    let degraded = route.degraded.as_ref().map(ToString::to_string);
    let mut structured = json!({"results": results});
    if let Some(reason) = degraded {
        structured["degraded"] = json!(reason);
    }
    facts(text, structured)
}

/// Tools asked for by name.
pub(super) fn named<'a>(
    found: impl Iterator<Item = (&'a str, Result<Target, ResolveError>)>,
    detail: Detail,
) -> CallToolResult {
    let (mut lines, mut results) = (Vec::new(), Vec::new());
    for (name, target) in found {
        match target {
            Ok(Target::Known(tool)) => {
                let schema = Value::Object(tool.input_schema().clone());
                let view = ToolView::from(&*tool);
                lines.push(line(&view, None, (detail == Detail::Full).then_some(&schema)));
                let mut entry = compact(&view, None);
                if detail == Detail::Full {
                    entry["description"] = json!(tool.description());
                    entry["inputSchema"] = schema;
                }
                results.push(entry);
            }
            Ok(Target::Unseen { server, .. }) => {
                lines.push(format!("{name}: the tools of {server} are not known yet"));
            }
            Err(error) => lines.push(format!("{name}: {error}")),
        }
    }
    facts(lines.join("\n"), json!({"results": results}))
}

/// Servers and their states; with `server`, its tools as well.
pub(super) fn servers(
    statuses: &[ServerStatus],
    snapshot: &Snapshot,
    server: Option<&str>,
    audit_problem: Option<String>,
) -> CallToolResult {
    let shown: Vec<&ServerStatus> =
        statuses.iter().filter(|status| server.is_none_or(|server| status.server == server)).collect();
    if let (Some(server), true) = (server, shown.is_empty()) {
        let near = crate::child::nearest(server, statuses.iter().map(|status| status.server.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
        return bad_input("list_servers", &format!("unknown server \"{server}\"{hint}"));
    }
    let mut lines = Vec::new();
    let mut entries = Vec::new();
    for status in shown {
        let known = snapshot.count_of(&status.server);
        let state = serde_json::to_value(status.state).unwrap_or_default();
        let tools = known.map_or_else(|| "tools not known yet".to_owned(), |count| format!("{count} tools"));
        let reason = status.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        let refusing = if status.breaker.is_some() { ", takes no calls since too many failed" } else { "" };
        let when = status.retry_in_ms.map_or_else(String::new, |wait| format!(", next try in {wait} ms"));
        let state = state.as_str().unwrap_or_default();
        lines.push(format!("{}: {state}, {tools}{refusing}{when}{reason}", status.server));
        lines.extend(status.warnings.iter().map(|warning| format!("  {warning}")));
        let mut entry = json!(status);
        if let Some(count) = known {
            entry["tools"] = json!(count);
        }
        entries.push(entry);
    }
    let mut structured = json!({"servers": entries});
    if let Some(problem) = audit_problem {
        lines.push(format!("The audit trail is not being written: {problem}"));
        structured["audit_problem"] = json!(problem);
    }
    if let Some(server) = server {
        let tools: Vec<ToolView> =
            snapshot.tools().filter(|tool: &&Tool| tool.server == server).map(ToolView::from).collect();
        lines.extend(tools.iter().map(|tool| line(tool, None, None)));
        structured["tools"] = json!(tools);
    }
    let text = if lines.is_empty() { "No server is configured.".to_owned() } else { lines.join("\n") };
    facts(text, structured)
}

/// The built-in server, which is always there.
pub(super) fn built_in(tools: &[ToolView]) -> CallToolResult {
    let lines: Vec<String> = tools.iter().map(|tool| line(tool, None, None)).collect();
    let server = json!({"server": RESERVED_SERVER_NAME, "state": "ready", "tools": tools.len()});
    facts(lines.join("\n"), json!({"servers": [server], "tools": tools}))
}

fn line(tool: &ToolView, confidence: Option<f32>, schema: Option<&Value>) -> String {
    let confidence = confidence.map_or_else(String::new, |confidence| format!(" ({confidence:.2})"));
    let schema = schema.map_or_else(String::new, |schema| format!("\n  {schema}"));
    format!("- {}:{}{confidence}: {}{schema}", tool.server, tool.signature, tool.description)
}

fn compact(tool: &ToolView, confidence: Option<f32>) -> Value {
    let mut entry = json!(tool);
    if let Some(confidence) = confidence {
        entry["confidence"] = json!(confidence);
    }
    entry
}

fn facts(text: String, structured: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(structured);
    result
}
