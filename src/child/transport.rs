//! The wire to one child, as rmcp's service loop uses it. Whatever a child prints is looked at here
//! first: lines are bounded, what is no message is skipped and counted, an answer reaches only the
//! request it belongs to, one that cannot be read fails that request at once, and storms of
//! notifications become one signal.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use rmcp::{
    RoleClient,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData,
        JsonRpcMessage, ProgressNotificationParam, ProgressToken, RequestId, ServerJsonRpcMessage,
        ServerResult,
    },
    transport::Transport,
};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Limits,
    lines::{IdFinder, Line, LineWriter, Lines, trimmed},
};

/// Error code of answers that we could not read. No child can send it: see [`error_data`].
pub(super) const UNREADABLE: ErrorCode = ErrorCode(i32::MIN);

/// Log messages of a child that may wait to be handed on; more are dropped.
const WAITING_LOGS: usize = 64;
/// Progress that is kept for a call that is about to be watched.
const UNCLAIMED: usize = 8;
/// Bytes of a log message or of a progress message; larger ones are dropped, not handed on.
const NOTICE_BYTES: usize = 64 * 1024;
/// Characters of a skipped line that are logged.
const SHOWN_CHARS: usize = 160;

/// How the answer to a request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// As it is, for the asker knows what it should be. rmcp would guess among twenty shapes.
    Raw,
    /// By rmcp.
    Typed,
}

/// Lines and messages that were of no use, since the child started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Noise {
    /// Lines that were no message.
    pub skipped_lines: u64,
    /// Answers that nobody waited for.
    pub stray_answers: u64,
    /// Lines over the limit.
    pub long_lines: u64,
}

/// What the transport and the session on it share.
pub(super) struct Wire {
    server: String,
    limits: Limits,
    pending: Mutex<HashMap<RequestId, Expected>>,
    progress: Mutex<HashMap<ProgressToken, watch::Sender<Option<ProgressNotificationParam>>>>,
    /// Progress of calls that nobody watches yet, newest first.
    unclaimed: Mutex<VecDeque<ProgressNotificationParam>>,
    /// Told when the child says that its tools changed, however often it says so.
    pub(super) tools_changed: Notify,
    logs: mpsc::Sender<Value>,
    heard: Mutex<Instant>,
    /// Fires when the child has closed its stdout.
    pub(super) closed: CancellationToken,
    skipped_lines: AtomicU64,
    stray_answers: AtomicU64,
    long_lines: AtomicU64,
}

impl Wire {
    pub(super) fn new(server: &str, limits: Limits) -> (Arc<Self>, mpsc::Receiver<Value>) {
        let (logs, received) = mpsc::channel(WAITING_LOGS);
        let wire = Self {
            server: server.to_owned(),
            limits,
            pending: Mutex::default(),
            progress: Mutex::default(),
            unclaimed: Mutex::default(),
            tools_changed: Notify::new(),
            logs,
            heard: Mutex::new(Instant::now()),
            closed: CancellationToken::new(),
            skipped_lines: AtomicU64::new(0),
            stray_answers: AtomicU64::new(0),
            long_lines: AtomicU64::new(0),
        };
        (Arc::new(wire), received)
    }

    /// When the child last sent a message.
    pub(super) fn heard(&self) -> Instant {
        *lock(&self.heard)
    }

    /// What was of no use.
    pub(super) fn noise(&self) -> Noise {
        Noise {
            skipped_lines: self.skipped_lines.load(Ordering::Relaxed),
            stray_answers: self.stray_answers.load(Ordering::Relaxed),
            long_lines: self.long_lines.load(Ordering::Relaxed),
        }
    }

    /// The latest progress of the call with this token, until dropped.
    pub(super) fn watch_progress(self: &Arc<Self>, token: ProgressToken) -> ProgressWatch {
        // The first may have come before anybody asked.
        let early = lock(&self.unclaimed).iter().rposition(|early| early.progress_token == token);
        let early = early.and_then(|at| lock(&self.unclaimed).remove(at));
        let (sender, mut latest) = watch::channel(None);
        if early.is_some() {
            sender.send_replace(early);
            latest.mark_changed();
        }
        lock(&self.progress).insert(token.clone(), sender);
        ProgressWatch { wire: Arc::clone(self), token, latest }
    }

    /// Nobody waits for the answer to this request any more.
    pub(super) fn forget(&self, id: &RequestId) {
        lock(&self.pending).remove(id);
    }

    fn expect(&self, message: &ClientJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                let expected = match request.request {
                    ClientRequest::SubscriptionsListenRequest(_) => Expected::Typed,
                    _ => Expected::Raw,
                };
                lock(&self.pending).insert(request.id.clone(), expected);
            }
            JsonRpcMessage::Notification(sent) => {
                if let ClientNotification::CancelledNotification(cancelled) = &sent.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.forget(id);
                }
            }
            _ => {}
        }
    }

    /// The message in a line, if it is one that anybody waits for.
    fn read(&self, line: &[u8]) -> Option<ServerJsonRpcMessage> {
        let line = trimmed(line);
        if line.is_empty() {
            return None;
        }
        let mut message = match serde_json::from_slice(line) {
            Ok(Value::Object(message)) => message,
            Ok(_) => return self.skip(line, "it is no JSON object"),
            Err(error) => {
                let answer = self.unreadable(IdFinder::find(line).as_ref(), &error.to_string());
                return answer.or_else(|| self.skip(line, &error.to_string()));
            }
        };
        *lock(&self.heard) = Instant::now();
        let has_id = message.get("id").is_some_and(|id| !id.is_null());
        match (message.contains_key("method"), has_id) {
            (true, true) => self.typed(message),
            (true, false) if line.len() > NOTICE_BYTES && is_for_the_host(&message) => None,
            (true, false) => self.notification(message),
            (false, true) => self.answer(&mut message),
            (false, false) => {
                self.stray_answers.fetch_add(1, Ordering::Relaxed);
                self.skip(line, "it has neither a method nor an id")
            }
        }
    }

    fn answer(&self, message: &mut Map<String, Value>) -> Option<ServerJsonRpcMessage> {
        let id = message.get("id").cloned();
        let Some((id, expected)) = self.settle(id.as_ref()) else {
            self.stray_answers.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(server = self.server, ?id, "an answer that nobody waits for");
            return None;
        };
        let unreadable = |reason: &str| Some(failure(id.clone(), reason));
        match (message.remove("result"), message.remove("error")) {
            (Some(_), Some(_)) => unreadable("it has both a result and an error"),
            (None, None) => unreadable("it has neither a result nor an error"),
            (None, Some(error)) => Some(JsonRpcMessage::error(error_data(error), Some(id))),
            (Some(result), None) => {
                let result = match expected {
                    Expected::Raw => ServerResult::CustomResult(CustomResult::new(result)),
                    Expected::Typed => match serde_json::from_value(result) {
                        Ok(result) => result,
                        Err(error) => return unreadable(&error.to_string()),
                    },
                };
                Some(JsonRpcMessage::response(result, id))
            }
        }
    }

    /// Takes the request with this id out of those that wait. Some servers answer with the number as
    /// a string.
    fn settle(&self, id: Option<&Value>) -> Option<(RequestId, Expected)> {
        let id: RequestId = serde_json::from_value(id?.clone()).ok()?;
        let mut pending = lock(&self.pending);
        if let Some(expected) = pending.remove(&id) {
            return Some((id, expected));
        }
        let RequestId::String(text) = &id else { return None };
        let number = RequestId::Number(text.parse().ok()?);
        pending.remove(&number).map(|expected| (number, expected))
    }

    fn unreadable(&self, id: Option<&Value>, reason: &str) -> Option<ServerJsonRpcMessage> {
        let (id, _) = self.settle(id)?;
        // Somebody is there, however little can be understood.
        *lock(&self.heard) = Instant::now();
        Some(failure(id, reason))
    }

    fn too_long(&self, id: Option<&Value>) -> Option<ServerJsonRpcMessage> {
        self.long_lines.fetch_add(1, Ordering::Relaxed);
        let limit = self.limits.line_bytes;
        tracing::warn!(
            server = self.server,
            "it sent a line over the limit of {limit} bytes; it is left out"
        );
        self.unreadable(id, &format!("it is over the limit of {limit} bytes"))
    }

    fn notification(&self, message: Map<String, Value>) -> Option<ServerJsonRpcMessage> {
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        match method {
            "notifications/progress" => self.note_progress(message),
            "notifications/tools/list_changed" => self.tools_changed.notify_one(),
            "notifications/message" => {
                if let Some(params) = message.get("params").filter(|params| params.is_object()) {
                    // Full means a storm: those that fit are enough.
                    self.logs.try_send(params.clone()).ok();
                }
            }
            "notifications/cancelled" | "notifications/subscriptions/acknowledged" => {
                return self.typed(message);
            }
            // Nothing here acts on the others (resources, prompts).
            _ => {}
        }
        None
    }

    /// Keeps the progress of a call if it goes forward.
    fn note_progress(&self, mut message: Map<String, Value>) {
        let params = message.remove("params").unwrap_or_default();
        let Ok(progress) = serde_json::from_value::<ProgressNotificationParam>(params) else { return };
        let calls = lock(&self.progress);
        if let Some(call) = calls.get(&progress.progress_token) {
            call.send_if_modified(|latest| {
                let forward = latest.as_ref().is_none_or(|before| progress.progress > before.progress);
                if forward {
                    *latest = Some(progress);
                }
                // A sign of life all the same.
                true
            });
        } else {
            let mut unclaimed = lock(&self.unclaimed);
            unclaimed.truncate(UNCLAIMED);
            unclaimed.push_front(progress);
        }
    }

    fn typed(&self, message: Map<String, Value>) -> Option<ServerJsonRpcMessage> {
        serde_json::from_value(Value::Object(message))
            .inspect_err(|error| {
                self.skipped_lines.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(server = self.server, "a message that is none: {error}");
            })
            .ok()
    }

    fn skip(&self, line: &[u8], reason: &str) -> Option<ServerJsonRpcMessage> {
        let count = self.skipped_lines.fetch_add(1, Ordering::Relaxed);
        if count < 20 {
            let shown: String = String::from_utf8_lossy(line).chars().take(SHOWN_CHARS).collect();
            tracing::debug!(server = self.server, line = shown, "skipped a line: {reason}");
        }
        None
    }
}

/// The latest progress of one call.
pub(super) struct ProgressWatch {
    wire: Arc<Wire>,
    token: ProgressToken,
    /// Changes with every notification.
    pub(super) latest: watch::Receiver<Option<ProgressNotificationParam>>,
}

impl Drop for ProgressWatch {
    fn drop(&mut self) {
        lock(&self.wire.progress).remove(&self.token);
    }
}

/// Whether a notification would be handed on as it is.
fn is_for_the_host(message: &Map<String, Value>) -> bool {
    let method = message.get("method").and_then(Value::as_str);
    matches!(method, Some("notifications/message" | "notifications/progress"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer made here for one that could not be read.
fn failure(id: RequestId, reason: &str) -> ServerJsonRpcMessage {
    JsonRpcMessage::error(ErrorData::new(UNREADABLE, reason.to_owned(), None), Some(id))
}

/// A child's error, whatever its shape.
fn error_data(error: Value) -> ErrorData {
    let Value::Object(mut fields) = error else {
        return ErrorData::new(ErrorCode::INTERNAL_ERROR, text_of(Some(error)), None);
    };
    let number = |code: &Value| code.as_i64().or_else(|| code.as_str()?.parse().ok());
    let code = fields
        .get("code")
        .and_then(number)
        .and_then(|code| i32::try_from(code).ok())
        .map(ErrorCode)
        .filter(|code| *code != UNREADABLE)
        .unwrap_or(ErrorCode::INTERNAL_ERROR);
    let data = fields.remove("data");
    let message = fields.remove("message");
    ErrorData::new(code, text_of(message), data)
}

fn text_of(value: Option<Value>) -> String {
    match value {
        Some(Value::String(text)) => text,
        None | Some(Value::Null) => "it gave no reason".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// The transport over a child's pipes.
pub(super) struct ChildTransport<R, W> {
    lines: Lines<R>,
    writer: LineWriter<W>,
    wire: Arc<Wire>,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> ChildTransport<R, W> {
    pub(super) fn new(reader: R, writer: W, wire: Arc<Wire>) -> Self {
        let lines = Lines::new(reader, wire.limits.line_bytes);
        Self { lines, writer: LineWriter::new(writer), wire }
    }
}

impl<R, W> Transport<RoleClient> for ChildTransport<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = std::io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        // Before the first byte leaves: the answer may be quick.
        self.wire.expect(&message);
        let writer = self.writer.clone();
        async move { writer.write(&message).await }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let message = match self.lines.next().await {
                Line::Complete(line) => self.wire.read(&line),
                Line::TooLong(id) => self.wire.too_long(id.as_ref()),
                Line::End => {
                    self.wire.closed.cancel();
                    return None;
                }
            };
            if message.is_some() {
                return message;
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.writer.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmcp::model::{CallToolRequest, CallToolRequestParams};
    use serde_json::json;

    use super::*;

    /// A wire on which request 7 waits.
    fn wire() -> Arc<Wire> {
        let (wire, _logs) = Wire::new("test", Limits::default());
        let call = CallToolRequest::new(CallToolRequestParams::new("tool"));
        wire.expect(&JsonRpcMessage::request(ClientRequest::CallToolRequest(call), RequestId::Number(7)));
        wire
    }

    fn outcome(message: Option<ServerJsonRpcMessage>) -> Option<Result<Value, i32>> {
        match message? {
            JsonRpcMessage::Response(answer) => Some(Ok(json!(answer.result))),
            JsonRpcMessage::Error(answer) => Some(Err(answer.error.code.0)),
            _ => None,
        }
    }

    #[test]
    fn an_answer_that_cannot_be_read_fails_its_call_at_once() {
        for line in [
            &b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"a\":\"\xff\"}}"[..],
            br#"{"jsonrpc":"2.0","id":7,"result":NaN}"#,
            br#"{"jsonrpc":"2.0","id":7,"result":{},"error":{}}"#,
            br#"{"jsonrpc":"2.0","id":7}"#,
        ] {
            assert_eq!(
                outcome(wire().read(line)),
                Some(Err(UNREADABLE.0)),
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    #[test]
    fn each_request_has_one_answer_and_only_its_own() {
        let wire = wire();
        let answer = |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"n":1}}}}"#).into_bytes();
        for stray in ["8", "null", "7.5", "\"x\"", "[7]"] {
            assert_eq!(outcome(wire.read(&answer(stray))), None, "{stray}");
        }
        assert_eq!(outcome(wire.read(&answer("\"7\""))), Some(Ok(json!({"n": 1}))), "a number as text");
        assert_eq!(outcome(wire.read(&answer("7"))), None, "it had its answer");
        assert!(wire.noise().stray_answers >= 5);
    }

    #[test]
    fn a_childs_error_is_never_taken_for_our_own() {
        for (error, code) in [
            (json!({"code": i32::MIN, "message": "x"}), -32603),
            (json!({"code": "-32602"}), -32602),
            (json!("no"), -32603),
            (json!({"code": 5, "message": {"a": 1}}), 5),
        ] {
            let line = json!({"jsonrpc": "2.0", "id": 7, "error": error}).to_string();
            assert_eq!(outcome(wire().read(line.as_bytes())), Some(Err(code)), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let wire = wire();
            wire.read(&line);
            let good = br#"{"jsonrpc":"2.0","id":7,"result":{}}"#;
            prop_assert!(wire.read(good).is_some(), "request 7 still waits");
        }
    }
}
