//! One call of a tool over a connection: its deadlines, its cancellation, what it shows of progress,
//! and what its answer means.

use std::{collections::BTreeMap, io, time::Duration};

use rmcp::{
    ServiceError,
    model::{
        CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, ContentBlock, InputRequest,
        InputRequiredResult, InputResponses, JsonObject, ServerRequest, ServerResult,
    },
    service::PeerRequestOptions,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    CallError, Connection,
    relay::{Caller, REQUESTS_AT_ONCE, offers, tell},
    transport::{ProgressWatch, UNREADABLE},
};

/// Progress goes up to the host at most so often; the newest wins.
const PROGRESS_PAUSE: Duration = Duration::from_millis(10);
/// For an ended child's exit code to be there, once its pipes are closed.
const EXIT_CODE_WAIT: Duration = Duration::from_millis(100);
/// Times that a child may ask for more input in one call.
const INPUT_ROUNDS: usize = 8;

/// What to call, and with what.
#[derive(Debug, Clone, Default)]
pub struct CallRequest {
    /// The tool's own name.
    pub tool: String,
    /// Its arguments.
    pub arguments: Option<JsonObject>,
    /// Answers to what the child asked for before, in the 2026-07-28 protocol.
    pub input: Option<InputResponses>,
    /// What the child wants to be reminded of along with them.
    pub state: Option<String>,
    /// Whether doing it twice does no harm, by the tool's own account.
    pub repeatable: bool,
}

/// What came of a call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The tool ran; it may say that it failed.
    Result(Box<CallToolResult>),
    /// The child needs input first, and the host is one that gives it by calling again.
    InputRequired(Box<InputRequiredResult>),
}

impl Connection {
    /// Calls a tool. The deadline for silence starts anew with each sign of progress; the caller's
    /// cancellation tells the child to stop and returns at once.
    pub async fn call(&self, request: &CallRequest, caller: &Caller) -> Result<Answer, CallError> {
        self.check_size(request)?;
        let until = Instant::now() + self.timeouts().call_total;
        let _calling = self.callers.enter(caller);
        let mut params = CallToolRequestParams::new(request.tool.clone());
        params.arguments.clone_from(&request.arguments);
        params.input_responses.clone_from(&request.input);
        params.request_state.clone_from(&request.state);
        for _ in 0..INPUT_ROUNDS {
            let raw = self.exchange(&request.tool, params.clone(), caller, until).await?;
            let answer = read_answer(raw).map_err(|reason| self.invalid_answer(&request.tool, &reason))?;
            self.note_answer();
            let Answer::InputRequired(wanted) = answer else { return Ok(answer) };
            if caller.host.as_ref().is_some_and(|host| host.takes_input_requests()) {
                return Ok(Answer::InputRequired(wanted));
            }
            let responses = self.gather_input(&request.tool, *wanted, caller, until).await?;
            (params.input_responses, params.request_state) = responses;
        }
        Err(self.invalid_answer(&request.tool, "it asks for input again and again"))
    }

    /// Larger arguments would end children of the TypeScript SDK, with all other calls on them.
    fn check_size(&self, request: &CallRequest) -> Result<(), CallError> {
        struct Counter(usize);
        impl io::Write for Counter {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += bytes.len();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut counter = Counter(0);
        serde_json::to_writer(&mut counter, &(&request.arguments, &request.input)).ok();
        let limit = self.limits().request_bytes;
        if counter.0 <= limit {
            return Ok(());
        }
        Err(CallError::TooLarge {
            server: self.server().to_owned(),
            tool: request.tool.clone(),
            bytes: counter.0,
            limit,
        })
    }

    /// Sends one request and waits for its raw result.
    async fn exchange(
        &self,
        tool: &str,
        params: CallToolRequestParams,
        caller: &Caller,
        until: Instant,
    ) -> Result<Value, CallError> {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let sending = self.peer().send_request_with_option(request, PeerRequestOptions::no_options());
        let handle = match timeout(self.timeouts().call, sending).await {
            Ok(Ok(handle)) => handle,
            // The session ended before the request left.
            Ok(Err(_)) => return Err(self.closed(tool, false).await),
            // So many wait already that it was not even taken in.
            Err(_) => {
                let (server, running) = (self.server().to_owned(), self.in_flight());
                return Err(CallError::Busy { server, running, queued: 0 });
            }
        };
        let id = handle.id.clone();
        let mut progress = self.wire().watch_progress(handle.progress_token.clone());
        let response = handle.await_response();
        tokio::pin!(response);
        let mut show_at = Instant::now();
        let mut unshown = false;
        let mut silent_until = Instant::now() + self.timeouts().call;
        loop {
            tokio::select! {
                answer = &mut response => {
                    // What it told before its answer is shown before it.
                    show_progress(&mut progress, caller).await;
                    return self.raw_result(tool, answer).await;
                }
                Ok(()) = progress.latest.changed() => {
                    silent_until = Instant::now() + self.timeouts().call;
                    unshown = caller.progress.is_some();
                }
                () = sleep_until(show_at), if unshown => {
                    show_progress(&mut progress, caller).await;
                    show_at = Instant::now() + PROGRESS_PAUSE;
                    unshown = false;
                }
                () = sleep_until(silent_until.min(until)) => {
                    if Instant::now() < until && self.callers.is_asking() {
                        // It waits for somebody, as we do.
                        silent_until = Instant::now() + self.timeouts().call;
                        continue;
                    }
                    self.tell_cancelled(id, "no answer in time");
                    self.note_timeout();
                    let limit = if until <= silent_until { self.timeouts().call_total } else { self.timeouts().call };
                    return Err(self.timed_out(tool, limit));
                }
                // A request that comes to the session just as it ends may be kept there with nobody to
                // answer it.
                () = self.ended() => {
                    let answer = timeout(Duration::ZERO, &mut response).await;
                    return self.raw_result(tool, answer.unwrap_or(Err(ServiceError::TransportClosed))).await;
                }
                () = caller.cancel.cancelled() => {
                    self.tell_cancelled(id, "the caller cancelled");
                    self.note_cancelled();
                    return Err(CallError::Cancelled { server: self.server().to_owned(), tool: tool.to_owned() });
                }
            }
        }
    }

    async fn raw_result(
        &self,
        tool: &str,
        answer: Result<ServerResult, ServiceError>,
    ) -> Result<Value, CallError> {
        match answer {
            Ok(ServerResult::CustomResult(raw)) => Ok(raw.0),
            Ok(_) => Err(self.invalid_answer(tool, "the answer is no tool result")),
            Err(ServiceError::McpError(error)) if error.code == UNREADABLE => {
                Err(self.invalid_answer(tool, &error.message))
            }
            Err(ServiceError::McpError(error)) => {
                self.note_answer();
                Err(CallError::Rejected {
                    server: self.server().to_owned(),
                    tool: tool.to_owned(),
                    code: error.code.0,
                    message: error.message.into_owned(),
                    data: error.data.map(Box::new),
                })
            }
            Err(ServiceError::TransportSend(_)) => Err(self.closed(tool, false).await),
            Err(ServiceError::TransportClosed | ServiceError::Cancelled { .. }) => {
                Err(self.closed(tool, true).await)
            }
            Err(other) => Err(self.invalid_answer(tool, &other.to_string())),
        }
    }

    /// Asks the host for what a child of the 2026-07-28 protocol needs, one question after the other.
    async fn gather_input(
        &self,
        tool: &str,
        wanted: InputRequiredResult,
        caller: &Caller,
        until: Instant,
    ) -> Result<(Option<InputResponses>, Option<String>), CallError> {
        let refused = |reason: &str| CallError::InputRefused {
            server: self.server().to_owned(),
            tool: tool.to_owned(),
            reason: reason.to_owned(),
        };
        let requests = wanted.input_requests.unwrap_or_default();
        if requests.len() > REQUESTS_AT_ONCE {
            return Err(self.invalid_answer(tool, "it asks for too much input at once"));
        }
        let host = caller.host.as_ref().ok_or_else(|| refused("there is nobody to ask"))?;
        let mut responses = BTreeMap::new();
        for (key, request) in requests {
            let request = match request {
                InputRequest::CreateMessage(request) => ServerRequest::CreateMessageRequest(request),
                InputRequest::Elicitation(request) => ServerRequest::ElicitRequest(request),
                InputRequest::ListRoots(request) => ServerRequest::ListRootsRequest(request),
                _ => return Err(self.invalid_answer(tool, "it asks for input of an unknown kind")),
            };
            if !offers(&host.capabilities(), &request) {
                return Err(refused("the client does not offer this"));
            }
            let answer = tokio::select! {
                answer = tokio::time::timeout_at(until, host.ask(request)) => answer,
                () = caller.cancel.cancelled() => {
                    return Err(CallError::Cancelled { server: self.server().to_owned(), tool: tool.to_owned() });
                }
            };
            let answer = answer
                .map_err(|_| refused("the client did not answer in time"))?
                .map_err(|error| refused(&format!("the client says: {}", error.message)))?;
            responses.insert(key, json!(answer));
        }
        Ok(((!responses.is_empty()).then_some(responses), wanted.request_state))
    }

    /// The child went away. Its exit code is worth a short wait.
    async fn closed(&self, tool: &str, sent: bool) -> CallError {
        timeout(EXIT_CODE_WAIT, self.ended()).await.ok();
        CallError::Closed {
            server: self.server().to_owned(),
            tool: tool.to_owned(),
            reason: self.end_reason(),
            stderr: self.stderr(),
            sent,
        }
    }

    fn timed_out(&self, tool: &str, limit: Duration) -> CallError {
        CallError::Timeout { server: self.server().to_owned(), tool: tool.to_owned(), limit }
    }

    fn invalid_answer(&self, tool: &str, reason: &str) -> CallError {
        CallError::InvalidAnswer {
            server: self.server().to_owned(),
            tool: tool.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// Hands the newest progress on to the host, if it has not seen as much.
async fn show_progress(progress: &mut ProgressWatch, caller: &Caller) {
    let latest = progress.latest.borrow_and_update().clone();
    if let (Some(latest), Some(shown), Some(host)) = (latest, &caller.progress, &caller.host)
        && let Some(notification) = shown.advance(latest)
    {
        tell(&**host, notification).await;
    }
}

/// A result as the tool gave it. Content of a kind that we do not know becomes text, so that nothing
/// is lost.
fn read_answer(raw: Value) -> Result<Answer, String> {
    let Value::Object(mut fields) = raw else { return Err("the result is no object".to_owned()) };
    match fields.get("resultType").and_then(Value::as_str) {
        None | Some("complete") => {}
        Some("input_required") => {
            let wanted = serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
            return Ok(Answer::InputRequired(Box::new(wanted)));
        }
        Some(other) => return Err(format!("a result of type \"{other}\" was not asked for")),
    }
    let known = ["content", "structuredContent", "isError", "_meta", "resultType"];
    if !fields.is_empty() && !known.iter().any(|key| fields.contains_key(*key)) {
        return Err("the result has no content".to_owned());
    }
    let blocks = match fields.remove("content") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(blocks)) => blocks.iter().map(read_block).collect::<Result<_, _>>()?,
        Some(_) => return Err("its content is no list".to_owned()),
    };
    fields.insert("content".to_owned(), Value::Array(Vec::new()));
    let mut result: CallToolResult =
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())?;
    result.content = blocks;
    Ok(Answer::Result(Box::new(result)))
}

fn read_block(raw: &Value) -> Result<ContentBlock, String> {
    const KNOWN: [&str; 5] = ["text", "image", "audio", "resource", "resource_link"];
    ContentBlock::deserialize(raw).or_else(|error| match raw.get("type").and_then(Value::as_str) {
        Some(kind) if !KNOWN.contains(&kind) => Ok(ContentBlock::text(raw.to_string())),
        _ => Err(format!("its content cannot be read: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: Value) -> Result<Value, String> {
        match read_answer(raw)? {
            Answer::Result(result) => Ok(json!(result)),
            Answer::InputRequired(wanted) => Ok(json!(wanted)),
        }
    }

    #[test]
    fn unknown_content_is_kept_as_text() {
        let result =
            read(json!({"content": [{"type": "text", "text": "a"}, {"type": "hologram", "x": 1}]})).unwrap();
        assert_eq!(result["content"][0]["text"], "a");
        assert_eq!(result["content"][1]["text"], r#"{"type":"hologram","x":1}"#);
    }

    #[test]
    fn what_is_no_result_is_refused() {
        for raw in [
            json!(null),
            json!([]),
            json!({"foo": 1}),
            json!({"content": "text"}),
            json!({"content": [{"type": "text"}]}),
            json!({"content": [7]}),
            json!({"resultType": "task"}),
        ] {
            assert!(read(raw.clone()).is_err(), "{raw}");
        }
        assert!(read(json!({})).is_ok());
        assert!(read(json!({"structuredContent": [1]})).is_ok());
        assert_eq!(read(json!({"isError": true})).unwrap()["isError"], true);
    }
}
