//! One exact call: the tool behind a name, its arguments against the schema, the row in the trail before it leaves,
//! and what came back.

use rmcp::model::{InputResponses, JsonObject};
use serde_json::json;

use super::{
    Draft, Executor, Outcome, Pending, Refusal, Routing, Target, administration, arguments,
    arguments::validate, ask::Asked, request, resolve,
};
use crate::{
    audit::{Entry, Kind, new_request_id},
    catalog::Tool,
    child::{Answer, CallError, CallRequest, Caller},
    report,
    router::ms,
};

impl Executor {
    /// Calls a tool by name, after checking the arguments against its schema.
    pub async fn call(&self, name: &str, arguments: JsonObject, caller: &Caller) -> Outcome {
        let request_id = new_request_id();
        if administration::is_meant(name) {
            return self.administrate(request_id, name, arguments).await;
        }
        let tool = match self.resolve(name) {
            Ok(Target::Known(tool)) => *tool,
            Ok(Target::Unseen { server, tool }) => match self.look_at(&server, &tool, caller).await {
                Ok(found) => found,
                Err(refusal) => {
                    return self.refuse(request_id, Kind::Call, None, Some((server, tool)), refusal).await;
                }
            },
            Err(error) => return self.refuse(request_id, Kind::Call, None, None, error.to_string()).await,
        };
        let task = self.chosen_for(caller, &tool);
        let routing = Routing::of(request_id, &tool);
        let arguments = request::mended(tool.input_schema(), arguments);
        match self.check(&routing, &tool, arguments).await {
            Ok(arguments) => {
                let outcome = self.send(routing, &tool, arguments, None, caller).await;
                if let Some(task) = task {
                    self.learn(&task, &outcome);
                }
                outcome
            }
            Err(outcome) => *outcome,
        }
    }

    /// Goes on with a call whose child asked for input, with the host's answers to it.
    pub async fn resume(&self, pending: Pending, input: InputResponses, caller: &Caller) -> Outcome {
        let request_id = new_request_id();
        let name = format!("{}:{}", pending.server, pending.tool);
        let tool = match self.resolve(&name) {
            Ok(Target::Known(tool)) => *tool,
            Ok(Target::Unseen { .. }) => {
                let reason = format!("{name} is not listed any more");
                return self.refuse(request_id, Kind::Call, None, None, reason).await;
            }
            Err(error) => return self.refuse(request_id, Kind::Call, None, None, error.to_string()).await,
        };
        let routing = Routing::of(request_id, &tool);
        if let Some(asked @ Asked::Arguments { task, .. }) = &pending.asked {
            let draft = Draft { routing, tool, arguments: pending.arguments, task: task.clone() };
            return self.answered(draft, asked, &input, caller).await;
        }
        // It comes from the host, so it is checked like any other.
        let arguments = match self.check(&routing, &tool, pending.arguments).await {
            Ok(arguments) => arguments,
            Err(outcome) => return *outcome,
        };
        if let Some(asked) = &pending.asked {
            let draft = Draft { routing, tool, arguments, task: String::new() };
            return self.answered(draft, asked, &input, caller).await;
        }
        let request = CallRequest {
            tool: pending.tool,
            arguments: Some(arguments),
            input: Some(input),
            state: pending.state,
            repeatable: tool.is_repeatable(),
        };
        self.send_request(routing, request, None, caller).await
    }

    /// Writes the row of a call that is about to be made. False where it must not be made without.
    async fn begin(&self, routing: &Routing, task: Option<String>) -> bool {
        let recorded = self.audit.record(call_entry(routing, task, 0, "started", None)).await;
        recorded || !self.strict_audit
    }

    async fn refuse_unrecorded(&self, routing: Routing, task: Option<String>) -> Outcome {
        let problem = self.audit.problem().unwrap_or_default();
        let reason =
            format!("no call is made while the audit trail cannot be written (audit.strict): {problem}");
        // The row that waits says so, when it is written in the end.
        self.audit
            .finish(call_entry(&routing, task, 0, "failed", Some("not recorded, so not made".to_owned())))
            .await;
        Outcome::not_called(routing, reason)
    }

    async fn administrate(&self, request_id: String, name: &str, arguments: JsonObject) -> Outcome {
        let Some(tool) = administration::find(name) else {
            return self.refuse(request_id, Kind::Call, None, None, administration::unknown(name)).await;
        };
        let routing = Routing::of(request_id, &tool);
        let arguments = match self.check(&routing, &tool, arguments).await {
            Ok(arguments) => arguments,
            Err(outcome) => return *outcome,
        };
        if !self.begin(&routing, None).await {
            return self.refuse_unrecorded(routing, None).await;
        }
        if administration::is_about_tools(&tool) {
            self.meet_new_servers().await;
        }
        let result = administration::run(&tool, &arguments, &self.pool, &self.library).await;
        let status = if result.is_error == Some(true) { "tool_error" } else { "done" };
        self.audit.finish(call_entry(&routing, None, 1, status, None)).await;
        Outcome::Done { routing, result: Box::new(result) }
    }

    /// The arguments, if they fit the tool's schema.
    async fn check(
        &self,
        routing: &Routing,
        tool: &Tool,
        arguments: JsonObject,
    ) -> Result<JsonObject, Box<Outcome>> {
        let problems = validate(tool.input_schema(), &arguments);
        if problems.is_empty() {
            return Ok(arguments);
        }
        let error = format!("arguments do not fit: {}", arguments::fields(&problems));
        self.audit.record(call_entry(routing, None, 0, "needs_arguments", Some(error))).await;
        Err(Box::new(Outcome::NeedsArguments {
            routing: routing.clone(),
            tool: tool.clone(),
            understood: arguments,
            problems,
        }))
    }

    /// Looks at the live list of a server for a tool that the catalog does not have.
    async fn look_at(&self, server: &str, tool: &str, caller: &Caller) -> Result<Tool, Refusal> {
        if let Some(refusal) = self.pool.ejected(server) {
            return Err(Refusal::of(&refusal));
        }
        let connection = tokio::select! {
            connection = self.pool.acquire(server) => {
                connection.map_err(|error| Refusal::of(&CallError::Connect(error)))?
            }
            () = caller.cancel.cancelled() => {
                return Err(Refusal::plain("cancelled while the server was starting".to_owned()));
            }
        };
        let listing = connection.listing();
        let found = listing.tools.iter().find(|definition| definition.name == tool);
        found.map(|definition| Tool::new(server, definition.clone())).ok_or_else(|| {
            let names: Vec<&str> = listing.tools.iter().map(|definition| definition.name.as_ref()).collect();
            if names.is_empty() {
                return Refusal::plain(format!("server \"{server}\" lists no tools"));
            }
            Refusal::plain(resolve::unknown_tool(server, tool, &names).to_string())
        })
    }

    /// Sends a call that is decided and checked.
    pub(super) async fn send(
        &self,
        routing: Routing,
        tool: &Tool,
        arguments: JsonObject,
        task: Option<String>,
        caller: &Caller,
    ) -> Outcome {
        let request = CallRequest {
            tool: tool.name().to_owned(),
            arguments: Some(arguments),
            repeatable: tool.is_repeatable(),
            ..CallRequest::default()
        };
        self.send_request(routing, request, task, caller).await
    }

    async fn send_request(
        &self,
        mut routing: Routing,
        request: CallRequest,
        task: Option<String>,
        caller: &Caller,
    ) -> Outcome {
        // Before the call leaves: what happened is known even if nobody lives to tell its end.
        if !self.begin(&routing, task.clone()).await {
            return self.refuse_unrecorded(routing, task).await;
        }
        let report = self.pool.call(&routing.server, &request, caller).await;
        routing.timings.start_ms = Some(ms(report.waited));
        routing.timings.call_ms = Some(ms(report.took));
        let attempts = report.attempts;
        match report.outcome {
            Ok(Answer::Result(result)) => {
                let status = if result.is_error == Some(true) { "tool_error" } else { "done" };
                self.audit.finish(call_entry(&routing, task, attempts, status, None)).await;
                Outcome::Done { routing, result }
            }
            Ok(Answer::InputRequired(wanted)) => {
                self.audit.finish(call_entry(&routing, task, attempts, "input_required", None)).await;
                let pending = Pending {
                    server: routing.server.clone(),
                    tool: routing.tool.clone(),
                    arguments: request.arguments.unwrap_or_default(),
                    state: wanted.request_state.clone(),
                    asked: None,
                };
                Outcome::InputRequired { routing, wanted, pending }
            }
            Err(error) => {
                let reason = report::chain(&error);
                let kept = error.for_the_trail();
                self.audit.finish(call_entry(&routing, task, attempts, "failed", Some(kept))).await;
                let reason = if attempts > 1 { format!("{reason} (tried {attempts} times)") } else { reason };
                let tool = || self.library.snapshot().find(&routing.id()).cloned();
                let rejected = error.is_about_arguments().then(tool).flatten();
                Outcome::Failed {
                    request_id: routing.request_id.clone(),
                    routing: Some(routing),
                    attempts,
                    reason,
                    rejected,
                    never_sent: error.never_left(),
                }
            }
        }
    }
}

/// The row of a call.
fn call_entry(
    routing: &Routing,
    task: Option<String>,
    attempts: u32,
    outcome: &str,
    error: Option<String>,
) -> Entry {
    Entry {
        request: routing.request_id.clone(),
        kind: Kind::Call,
        task,
        candidates: Vec::new(),
        choice: Some((routing.server.clone(), routing.tool.clone())),
        confidence: routing.confidence,
        attempts,
        outcome: outcome.to_owned(),
        error,
        durations: json!({"start_ms": routing.timings.start_ms, "call_ms": routing.timings.call_ms}),
    }
}
