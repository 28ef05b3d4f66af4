//! How a task or a call ended, as facts for programs and as a text that a model can act on.

use std::fmt::Write;

use rmcp::model::{CallToolResult, InputRequiredResult, JsonObject};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    arguments::{Problem, summary},
    ask::Asked,
    infer::Origin,
    request::with_blanks,
};
use crate::{
    catalog::{Effect, Tool, signature},
    router::{Candidate, RouteTimings},
};

/// Characters of a description in one line.
const ONE_LINE_CHARS: usize = 160;

/// Time of each stage in ms; a stage that did not happen has none.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Timings {
    /// Embedding and searching.
    #[serde(flatten)]
    pub route: Option<RouteTimings>,
    /// Getting a connection; starting the child where it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<f64>,
    /// The call itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_ms: Option<f64>,
}

/// Which tool was chosen, how surely, and how long it took.
#[derive(Debug, Clone, Serialize)]
pub struct Routing {
    /// Name of the request in the audit trail.
    pub request_id: String,
    /// The server.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Probability that it is the right one; none when the caller named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Time of each stage.
    pub timings: Timings,
    /// The arguments, where some were read from the task's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inferred: Option<Inferred>,
    /// The tool that fits better, where its server could not be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Unreachable>,
}

/// A tool that was chosen and could not be reached.
#[derive(Debug, Clone, Serialize)]
pub struct Unreachable {
    /// `server:tool`.
    pub tool: String,
    /// Why.
    pub reason: String,
}

/// Arguments that the caller did not give.
#[derive(Debug, Clone, Serialize)]
pub struct Inferred {
    /// All arguments, the given ones included.
    pub arguments: JsonObject,
    /// Where those came from that were read from the task.
    pub from: Vec<Origin>,
    /// Whether the host's model filled them in.
    pub by_model: bool,
}

impl Routing {
    /// The routing of a call by name.
    pub(super) fn of(request_id: String, tool: &Tool) -> Self {
        let (server, tool) = (tool.server.clone(), tool.name().to_owned());
        Self {
            request_id,
            server,
            tool,
            confidence: None,
            timings: Timings::default(),
            inferred: None,
            instead_of: None,
        }
    }

    /// Notes that the host's model gave these arguments.
    pub(super) fn filled_in_by_model(&mut self, arguments: &JsonObject) {
        self.inferred = Some(Inferred { arguments: arguments.clone(), from: Vec::new(), by_model: true });
    }

    /// `server:tool`.
    pub fn id(&self) -> String {
        format!("{}:{}", self.server, self.tool)
    }
}

/// A tool as answers show it.
#[derive(Debug, Clone, Serialize)]
pub struct ToolView {
    /// The server.
    pub server: String,
    /// The tool's own name.
    pub tool: String,
    /// Name and parameters with their types.
    pub signature: String,
    /// First line of the description, shortened.
    pub description: String,
}

impl From<&Tool> for ToolView {
    fn from(tool: &Tool) -> Self {
        Self {
            server: tool.server.clone(),
            tool: tool.name().to_owned(),
            signature: signature(tool.definition()),
            description: one_line(tool.description()),
        }
    }
}

/// A ranked tool as answers show it, with what it was ranked by.
#[derive(Debug, Clone, Serialize)]
pub struct CandidateView {
    /// The tool.
    #[serde(flatten)]
    pub tool: ToolView,
    /// Probability that it does the task.
    pub confidence: f32,
    /// What it was ranked by.
    pub score: f32,
    /// Cosine of task and tool.
    pub dense: Option<f32>,
    /// Cosine of the task to the nearest example; none when the tool has no example.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<f32>,
    /// Saturated BM25.
    pub lexical: f32,
    /// The parameters.
    #[serde(rename = "inputSchema")]
    pub input_schema: Value,
}

impl From<&Candidate> for CandidateView {
    fn from(candidate: &Candidate) -> Self {
        Self {
            tool: ToolView::from(&candidate.tool),
            confidence: candidate.confidence,
            score: candidate.score,
            dense: candidate.views.map(|views| views.text),
            example: candidate.views.and_then(|views| views.examples).map(|examples| examples.best),
            lexical: candidate.lexical,
            input_schema: Value::Object(candidate.tool.input_schema().clone()),
        }
    }
}

/// A call whose child waits for input. The host keeps it and gives it back with its answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pending {
    /// The server.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    pub arguments: JsonObject,
    /// What the child itself wants to be reminded of.
    pub state: Option<String>,
    /// What we ask for, where it is not the child that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// How it ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The tool ran; the result is the child's own.
    Done {
        /// Which tool.
        routing: Routing,
        /// What the child answered.
        result: Box<CallToolResult>,
    },
    /// The child needs input of the host first (2026-07-28 protocol).
    InputRequired {
        /// Which tool.
        routing: Routing,
        /// What the child asks for.
        wanted: Box<InputRequiredResult>,
        /// How the call goes on.
        pending: Pending,
    },
    /// The tool is clear; arguments are missing or wrong.
    NeedsArguments {
        /// Which tool.
        routing: Routing,
        /// The tool.
        tool: Tool,
        /// Arguments that were given.
        understood: JsonObject,
        /// What is missing or wrong.
        problems: Vec<Problem>,
    },
    /// Several tools fit.
    Ambiguous {
        /// Name of the request in the audit trail.
        request_id: String,
        /// Time of each stage.
        timings: Timings,
        /// The tools, best first.
        candidates: Vec<CandidateView>,
    },
    /// Nothing fits.
    NoMatch {
        /// Name of the request in the audit trail.
        request_id: String,
        /// Time of each stage.
        timings: Timings,
        /// What came nearest.
        nearest: Vec<CandidateView>,
        /// What speaks against those.
        reason: Option<&'static str>,
        /// Servers whose tools are not known yet.
        unlisted: Vec<String>,
        /// Why words alone were used, where that is so.
        degraded: Option<String>,
    },
    /// The tool may destroy something and was not named by the caller.
    NeedsConfirmation {
        /// Which tool.
        routing: Routing,
        /// The tool.
        tool: Tool,
        /// Its arguments.
        arguments: JsonObject,
    },
    /// What would have been called.
    DryRun {
        /// Which tool.
        routing: Routing,
        /// The tool.
        tool: Tool,
        /// Its arguments.
        arguments: JsonObject,
    },
    /// It could not be done.
    Failed {
        /// Name of the request in the audit trail.
        request_id: String,
        /// Which tool, where one was chosen.
        routing: Option<Routing>,
        /// Calls that were sent.
        attempts: u32,
        /// Why, and what can be done.
        reason: String,
        /// The tool, where it was its arguments that its server rejected.
        rejected: Option<Tool>,
        /// Whether the call surely never reached the tool.
        never_sent: bool,
    },
}

impl Outcome {
    /// A call that was decided, but not made.
    pub(super) fn not_called(routing: Routing, reason: String) -> Self {
        Self::Failed {
            request_id: routing.request_id.clone(),
            routing: Some(routing),
            attempts: 0,
            reason,
            rejected: None,
            never_sent: false,
        }
    }

    /// The outcome in a word.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::InputRequired { .. } => "input_required",
            Self::NeedsArguments { .. } => "needs_arguments",
            Self::Ambiguous { .. } => "ambiguous",
            Self::NoMatch { .. } => "no_match",
            Self::NeedsConfirmation { .. } => "needs_confirmation",
            Self::DryRun { .. } => "dry_run",
            Self::Failed { .. } => "failed",
        }
    }

    /// The chosen tool, where one was chosen.
    pub fn routing(&self) -> Option<&Routing> {
        match self {
            Self::Done { routing, .. }
            | Self::InputRequired { routing, .. }
            | Self::NeedsArguments { routing, .. }
            | Self::NeedsConfirmation { routing, .. }
            | Self::DryRun { routing, .. } => Some(routing),
            Self::Failed { routing, .. } => routing.as_ref(),
            Self::Ambiguous { .. } | Self::NoMatch { .. } => None,
        }
    }

    /// Facts for programs. `done` carries the child's result under `result`.
    pub fn structured(&self) -> Value {
        let mut facts = Map::new();
        facts.insert("status".to_owned(), json!(self.status()));
        if let Some(routing) = self.routing()
            && let Value::Object(routing) = json!(routing)
        {
            facts.extend(routing);
        }
        let more = match self {
            Self::Done { result, .. } => json!({"result": result}),
            Self::InputRequired { wanted, .. } => json!({"input_required": wanted}),
            Self::NeedsArguments { tool, understood, problems, .. } => json!({
                "missing": problems,
                "understood": understood,
                "inputSchema": tool.input_schema(),
                "destructive": tool.effect() == Effect::Destroys,
                "call_tool": call_request(tool, &with_blanks(tool.input_schema(), understood)),
            }),
            Self::Ambiguous { request_id, timings, candidates } => {
                json!({"request_id": request_id, "timings": timings, "candidates": candidates})
            }
            Self::NoMatch { request_id, timings, nearest, reason, unlisted, degraded } => {
                let nearest: Vec<&ToolView> = nearest.iter().map(|candidate| &candidate.tool).collect();
                json!({
                    "request_id": request_id, "timings": timings, "nearest": nearest, "reason": reason,
                    "unlisted": unlisted, "degraded": degraded,
                })
            }
            Self::NeedsConfirmation { tool, arguments, .. } | Self::DryRun { tool, arguments, .. } => {
                json!({"call_tool": call_request(tool, arguments)})
            }
            Self::Failed { request_id, attempts, reason, rejected, .. } => {
                let mut facts = json!({"request_id": request_id, "attempts": attempts, "reason": reason});
                if let Some(tool) = rejected {
                    facts["inputSchema"] = json!(tool.input_schema());
                }
                facts
            }
        };
        if let Value::Object(more) = more {
            facts.extend(more);
        }
        Value::Object(facts)
    }

    /// The outcome for a model: what happened and what to do next. Empty for `done`, where the
    /// child's own content speaks.
    pub fn text(&self) -> String {
        match self {
            Self::Done { .. } => String::new(),
            Self::InputRequired { routing, .. } => {
                format!("{} needs input before it can go on.", routing.id())
            }
            Self::NeedsArguments { routing, tool, understood, problems } => {
                let request = call_request(tool, &with_blanks(tool.input_schema(), understood));
                let why = match problems.as_slice() {
                    [] => "but the task may say more than these arguments".to_owned(),
                    problems => format!("but its arguments are not complete: {}", summary(problems)),
                };
                let next = if problems.is_empty() { "as it should be" } else { "each null replaced" };
                let warning = if tool.effect() == Effect::Destroys {
                    "It may change or delete things for good: ask the user first, unless that is plainly wanted.\n"
                } else {
                    ""
                };
                format!(
                    "{} fits, {why}.\n{}\n{}\n{warning}Call it with call_tool, {next}: {request}",
                    routing.id(),
                    signature(tool.definition()),
                    one_line(tool.description()),
                )
            }
            Self::Ambiguous { candidates, .. } => {
                let mut text = "Several tools fit. Choose one and call it with call_tool:".to_owned();
                push_lines(&mut text, candidates);
                text
            }
            Self::NoMatch { nearest, reason, unlisted, degraded, .. } => {
                let mut text = match reason {
                    Some(reason) => format!("No tool fits this task: {reason}."),
                    None => "No tool fits this task.".to_owned(),
                };
                if let Some(reason) = degraded {
                    write!(text, " Tools were searched by words only, since {reason}.").ok();
                }
                if !unlisted.is_empty() {
                    write!(text, " The tools of {} are not known yet.", unlisted.join(", ")).ok();
                }
                if !nearest.is_empty() {
                    text.push_str(" The nearest, which are probably not what is meant:");
                    push_lines(&mut text, nearest);
                }
                text
            }
            Self::NeedsConfirmation { routing, tool, arguments } => format!(
                "{} {}, so it was not called. If that is wanted, call it with call_tool: {}",
                routing.id(),
                doubt(tool),
                call_request(tool, arguments)
            ),
            Self::DryRun { routing, tool, arguments } => {
                format!("{} would be called: {}", routing.id(), call_request(tool, arguments))
            }
            Self::Failed { reason, rejected: Some(tool), .. } => {
                let schema = json!(tool.input_schema());
                format!("{reason}\n{}\nSchema of its arguments: {schema}", signature(tool.definition()))
            }
            Self::Failed { reason, .. } => reason.clone(),
        }
    }
}

/// Why somebody has to confirm a call.
pub(super) fn doubt(tool: &Tool) -> &'static str {
    if tool.effect() == Effect::Destroys {
        "may change or delete things for good"
    } else {
        "is not plainly asked for"
    }
}

fn push_lines(text: &mut String, candidates: &[CandidateView]) {
    for CandidateView { tool, confidence, .. } in candidates {
        // Writing to a String cannot fail.
        write!(text, "\n- {}:{} ({confidence:.2}): {}", tool.server, tool.signature, tool.description).ok();
    }
}

/// The `call_tool` request for a tool.
fn call_request(tool: &Tool, arguments: &JsonObject) -> Value {
    json!({"tool": tool.id(), "arguments": arguments})
}

/// The first paragraph, on one line, cut at a word.
fn one_line(text: &str) -> String {
    let paragraph = text.trim().split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let mut line = String::new();
    for word in words {
        if line.chars().count() + word.chars().count() + 1 > ONE_LINE_CHARS {
            line.push('…');
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}
