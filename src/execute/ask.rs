//! What the host is asked before a call: its model for arguments that the task's words do not tell beyond doubt,
//! its user for consent to what may destroy something. A host that offers neither gets the request to send itself.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use rmcp::model::{
    ClientResult, InputRequest, InputRequiredResult, InputResponses, JsonObject, ServerRequest,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Executor, Outcome, Pending, Routing,
    arguments::{Problem, summary, validate},
    request::mended,
};
use crate::{
    catalog::{Effect, Tool},
    child::{Caller, Host},
    config::Infer,
};

/// For a model or a user to answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the model is asked for one call: once, and once more with what was wrong.
const ROUNDS: usize = 2;
/// Tokens of an answer at most.
const MAX_TOKENS: u32 = 2_000;
/// Characters of arguments that a user is shown.
const SHOWN: usize = 1_000;
/// Under which name the question goes to a host of the 2026-07-28 protocol.
const QUESTION: &str = "orchestrator";

/// What a host of the 2026-07-28 protocol was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// Whether to call.
    Consent,
    /// With which arguments.
    Arguments {
        /// What is to be done.
        task: String,
        /// Which time this is, from 1.
        round: usize,
    },
}

/// A call that is not yet made.
pub(super) struct Draft {
    pub routing: Routing,
    pub tool: Tool,
    pub arguments: JsonObject,
    /// What is to be done.
    pub task: String,
}

impl Draft {
    /// What is missing, for whoever asked.
    pub(super) fn needs_arguments(self, problems: Vec<Problem>) -> Outcome {
        let Self { routing, tool, arguments, .. } = self;
        Outcome::NeedsArguments { routing, tool, understood: arguments, problems }
    }

    /// What is to be confirmed.
    pub(super) fn needs_confirmation(self) -> Outcome {
        let Self { routing, tool, arguments, .. } = self;
        Outcome::NeedsConfirmation { routing, tool, arguments }
    }

    /// What would be called.
    pub(super) fn dry_run(self) -> Outcome {
        let Self { routing, tool, arguments, .. } = self;
        Outcome::DryRun { routing, tool, arguments }
    }
}

/// How a host can be asked.
enum Way<'a> {
    /// By a request.
    Request(&'a dyn Host),
    /// In an answer, upon which it calls again.
    Answer,
}

impl Executor {
    /// Calls; where the tool may destroy something, with the user's consent.
    pub(super) async fn confirm_and_send(&self, draft: Draft, caller: &Caller) -> Outcome {
        let is_allowed = self.settings.allows_destruction(&draft.tool.server, draft.tool.name());
        if draft.tool.effect() < Effect::Destroys || is_allowed {
            return self.send_draft(draft, caller).await;
        }
        let question = consent_question(&draft.tool, &draft.arguments);
        match way(caller, |host| host.capabilities().elicitation.is_some()) {
            None => draft.needs_confirmation(),
            Some(Way::Answer) => in_an_answer(draft, question, Asked::Consent),
            Some(Way::Request(host)) => match ask(host, question, caller).await {
                Ok(answer) if agreed(&answer) => self.send_draft(draft, caller).await,
                Ok(_) => declined(draft.routing),
                Err(problem) => {
                    tracing::debug!("the user was not asked: {problem}");
                    draft.needs_confirmation()
                }
            },
        }
    }

    async fn send_draft(&self, draft: Draft, caller: &Caller) -> Outcome {
        let Draft { routing, tool, arguments, task } = draft;
        self.send(routing, &tool, arguments, Some(task), caller).await
    }

    /// Has the host's model fill in what is missing, and calls.
    pub(super) async fn complete_and_send(
        &self,
        mut draft: Draft,
        mut problems: Vec<Problem>,
        caller: &Caller,
    ) -> Outcome {
        let way = way(caller, |host| host.capabilities().sampling.is_some());
        match way.filter(|_| self.settings.infer != Infer::Off) {
            None => {}
            Some(Way::Answer) => {
                let question = arguments_question(&draft, None);
                let asked = Asked::Arguments { task: draft.task.clone(), round: 1 };
                return in_an_answer(draft, question, asked);
            }
            Some(Way::Request(host)) => {
                let mut wrong = None;
                for _ in 0..ROUNDS {
                    let question = arguments_question(&draft, wrong.as_deref());
                    let answer = match ask(host, question, caller).await {
                        Ok(answer) => answer,
                        Err(problem) => {
                            tracing::debug!("the host's model filled in nothing: {problem}");
                            break;
                        }
                    };
                    match take(&mut draft, &answer) {
                        Ok(()) => return self.confirm_and_send(draft, caller).await,
                        Err(found) => {
                            wrong = Some(summary(&found));
                            problems = found;
                        }
                    }
                }
            }
        }
        draft.needs_arguments(problems)
    }

    /// Goes on with a call for which a host was asked, with its answer.
    pub(super) async fn answered(
        &self,
        mut draft: Draft,
        asked: &Asked,
        input: &InputResponses,
        caller: &Caller,
    ) -> Outcome {
        let answer = input.get(QUESTION).cloned().unwrap_or_default();
        match asked {
            Asked::Consent if agreed(&answer) => self.send_draft(draft, caller).await,
            Asked::Consent => declined(draft.routing),
            Asked::Arguments { round, .. } => match take(&mut draft, &answer) {
                Ok(()) => self.confirm_and_send(draft, caller).await,
                Err(problems) if *round < ROUNDS => {
                    let question = arguments_question(&draft, Some(&summary(&problems)));
                    let asked = Asked::Arguments { task: draft.task.clone(), round: round + 1 };
                    in_an_answer(draft, question, asked)
                }
                Err(problems) => draft.needs_arguments(problems),
            },
        }
    }
}

/// How the host is asked, where it offers what is wanted.
fn way(caller: &Caller, offers: impl FnOnce(&dyn Host) -> bool) -> Option<Way<'_>> {
    let host = caller.host.as_deref().filter(|host| offers(*host))?;
    Some(if host.takes_input_requests() { Way::Answer } else { Way::Request(host) })
}

/// Asks a host, which has some minutes to answer.
async fn ask(host: &dyn Host, question: Value, caller: &Caller) -> Result<Value, String> {
    tokio::select! {
        answer = ask_host(host, question, PATIENCE) => answer,
        () = caller.cancel.cancelled() => Err("cancelled".to_owned()),
    }
}

/// The host's answer to a request in JSON.
pub async fn ask_host(host: &dyn Host, request: Value, patience: Duration) -> Result<Value, String> {
    let request: ServerRequest = serde_json::from_value(request).map_err(|error| error.to_string())?;
    let answer: ClientResult = timeout(patience, host.ask(request))
        .await
        .map_err(|_| "no answer came".to_owned())?
        .map_err(|error| error.message.into_owned())?;
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

/// The text of a model's answer.
pub fn answered_text(answer: &Value) -> String {
    match &answer["content"] {
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        block => block["text"].as_str().unwrap_or_default().to_owned(),
    }
}

/// The answer that makes a host of the 2026-07-28 protocol ask, and call again.
fn in_an_answer(draft: Draft, question: Value, asked: Asked) -> Outcome {
    let Draft { routing, tool, arguments, .. } = draft;
    let request: InputRequest = match serde_json::from_value(question) {
        Ok(request) => request,
        Err(error) => {
            let reason = format!("the question to the host cannot be written: {error}");
            return Outcome::not_called(routing, reason);
        }
    };
    let wanted = InputRequiredResult::from_input_requests(BTreeMap::from([(QUESTION.to_owned(), request)]));
    let pending = Pending {
        server: tool.server.clone(),
        tool: tool.name().to_owned(),
        arguments,
        state: None,
        asked: Some(asked),
    };
    Outcome::InputRequired { routing, wanted: Box::new(wanted), pending }
}

fn declined(routing: Routing) -> Outcome {
    let reason = format!("{} was not called: the user did not agree", routing.id());
    Outcome::not_called(routing, reason)
}

fn consent_question(tool: &Tool, arguments: &JsonObject) -> Value {
    let shown: String = json!(arguments).to_string().chars().take(SHOWN).collect();
    let message =
        format!("{} may change or delete things for good. Call it with these arguments?\n{shown}", tool.id());
    json!({
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": {"type": "object", "properties": {}}}
    })
}

fn agreed(answer: &Value) -> bool {
    answer["action"] == "accept"
}

fn arguments_question(draft: &Draft, wrong: Option<&str>) -> Value {
    let Draft { tool, task, arguments, .. } = draft;
    let mut text = format!(
        "Fill in the arguments of a tool for a task. Answer with one JSON object and nothing else. Use what the task \
         says, and leave out what it does not say.\n\nTask: {task}\n\nTool: {}\n{}\n\nJSON schema of its arguments: {}",
        tool.id(),
        tool.description(),
        json!(tool.input_schema())
    );
    // Writing to a String cannot fail.
    if !arguments.is_empty() {
        write!(text, "\n\nRead from the task so far, which may be wrong: {}", json!(arguments)).ok();
    }
    if let Some(wrong) = wrong {
        write!(text, "\n\nThat does not satisfy the schema: {wrong}. Answer again with all arguments.").ok();
    }
    json!({
        "method": "sampling/createMessage",
        "params": {
            "messages": [{"role": "user", "content": {"type": "text", "text": text}}],
            "maxTokens": MAX_TOKENS
        }
    })
}

/// Takes the arguments in a model's answer into the draft, and tells what is wrong with them.
fn take(draft: &mut Draft, answer: &Value) -> Result<(), Vec<Problem>> {
    let schema = draft.tool.input_schema();
    let Some(read) = read_object(&answered_text(answer)) else {
        return Err(vec![Problem {
            field: String::new(),
            problem: "the answer is no JSON object".to_owned(),
        }]);
    };
    let arguments = mended(schema, read);
    let problems = validate(schema, &arguments);
    draft.arguments = arguments;
    draft.routing.filled_in_by_model(&draft.arguments);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The JSON object in a text, which may stand in a fence or between words. What is null is left out.
fn read_object(text: &str) -> Option<JsonObject> {
    let (start, end) = (text.find('{')?, text.rfind('}')?);
    let mut object: JsonObject = serde_json::from_str(text.get(start..=end)?).ok()?;
    object.retain(|_, value| !value.is_null());
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_in_a_models_answer() {
        for (text, expected) in [
            (r#"{"a": 1}"#, Some(json!({"a": 1}))),
            (
                "Here it is:\n```json\n{\"a\": {\"b\": null}, \"c\": null}\n```",
                Some(json!({"a": {"b": null}})),
            ),
            ("nothing", None),
            ("} {", None),
            ("{a: 1}", None),
        ] {
            assert_eq!(read_object(text).map(Value::Object), expected, "{text}");
        }
    }
}
