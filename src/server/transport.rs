//! stdin and stdout as the transport to a host. What a host sends wrongly is answered here with the
//! JSON-RPC error that it deserves and never ends the session; rmcp alone would leave some of it
//! without an answer, and its sender waiting.

use std::{collections::HashSet, sync::Arc};

use rmcp::{
    RoleServer,
    model::{
        CallToolRequestParams, ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData,
        JsonRpcMessage, RequestId, ServerJsonRpcMessage,
    },
    transport::Transport,
};
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;

use crate::lines::{IdFinder, Line, LineWriter, Lines, trimmed};

/// Longest line taken from a host, in bytes: somewhat more than a child may be given, so that what is
/// too large for a child is answered as such.
const LINE_BYTES: usize = 16 * 1024 * 1024;
/// Error answers that may wait to be written; a host that sends only mistakes and reads nothing gets
/// no more.
const WAITING_ERRORS: usize = 64;
/// Key of the protocol version in the `_meta` of each request, from 2026-07-28 on.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// The transport over a pair of pipes.
pub struct HostTransport<R, W> {
    lines: Lines<R>,
    writer: LineWriter<W>,
    errors: Arc<Semaphore>,
    /// Whether the session has begun.
    begun: bool,
    /// Requests without an answer: an id is used once at a time.
    in_flight: HashSet<RequestId>,
    /// Fires when the host has closed its side.
    closed: CancellationToken,
}

impl HostTransport<tokio::io::Stdin, tokio::io::Stdout> {
    /// The transport over the process's own stdin and stdout.
    pub fn stdio() -> Self {
        Self::new(tokio::io::stdin(), tokio::io::stdout())
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin + Send + 'static> HostTransport<R, W> {
    fn new(reader: R, writer: W) -> Self {
        Self {
            lines: Lines::new(reader, LINE_BYTES),
            writer: LineWriter::new(writer),
            errors: Arc::new(Semaphore::new(WAITING_ERRORS)),
            begun: false,
            in_flight: HashSet::new(),
            closed: CancellationToken::new(),
        }
    }

    /// Fires when the host has closed its side.
    pub fn closed(&self) -> CancellationToken {
        self.closed.clone()
    }

    /// Takes note of a request's id; one that is in flight cannot be used again.
    fn note(&mut self, message: &ClientJsonRpcMessage) -> Result<(), Refusal> {
        match message {
            JsonRpcMessage::Request(request) if !self.in_flight.insert(request.id.clone()) => {
                let reason = "another request with this id is still without an answer";
                Err(Refusal { id: None, error: Box::new(ErrorData::invalid_request(reason, None)) })
            }
            JsonRpcMessage::Notification(sent) => {
                if let ClientNotification::CancelledNotification(cancelled) = &sent.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    // It gets no answer.
                    self.in_flight.remove(id);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Answers a mistake. In a task of its own: reading goes on, and may be cancelled.
    fn refuse(&self, refusal: Refusal) {
        tracing::debug!("a message of the host is refused: {}", refusal.error.message);
        let Ok(place) = Arc::clone(&self.errors).try_acquire_owned() else { return };
        let writer = self.writer.clone();
        tokio::spawn(async move {
            let message = ServerJsonRpcMessage::error(*refusal.error, refusal.id);
            writer.write(&message).await.ok();
            drop(place);
        });
    }
}

impl<R, W> Transport<RoleServer> for HostTransport<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = std::io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        // Its id is free again.
        let answered = match &message {
            JsonRpcMessage::Response(answer) => Some(&answer.id),
            JsonRpcMessage::Error(answer) => answer.id.as_ref(),
            _ => None,
        };
        if let Some(id) = answered {
            self.in_flight.remove(id);
        }
        let writer = self.writer.clone();
        async move { writer.write(&message).await }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let read = match self.lines.next().await {
                Line::Complete(line) => read(&line, &mut self.begun),
                Line::TooLong(id) => {
                    let reason = format!("the message is over the limit of {LINE_BYTES} bytes");
                    Err(Refusal::new(id.as_ref(), ErrorCode::INVALID_REQUEST, reason))
                }
                Line::End => {
                    self.closed.cancel();
                    return None;
                }
            };
            match read {
                Ok(Some(message)) => match self.note(&message) {
                    Ok(()) => return Some(message),
                    Err(refusal) => self.refuse(refusal),
                },
                Ok(None) => {}
                Err(refusal) => self.refuse(refusal),
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.writer.close().await;
        Ok(())
    }
}

/// An error answer.
#[derive(Debug)]
struct Refusal {
    id: Option<RequestId>,
    error: Box<ErrorData>,
}

impl Refusal {
    fn new(id: Option<&Value>, code: ErrorCode, reason: impl Into<String>) -> Self {
        let id = id.and_then(|id| serde_json::from_value(id.clone()).ok());
        Self { id, error: Box::new(ErrorData::new(code, reason.into(), None)) }
    }
}

/// The message in a line; none in an empty one, and in one that means nothing before the session
/// begins.
fn read(line: &[u8], begun: &mut bool) -> Result<Option<ClientJsonRpcMessage>, Refusal> {
    let line = trimmed(line);
    if line.is_empty() {
        return Ok(None);
    }
    let message = match serde_json::from_slice(line) {
        Ok(Value::Object(message)) => message,
        Ok(_) => {
            let reason = "a message is one JSON object; batches are not part of the protocol";
            return Err(Refusal::new(None, ErrorCode::INVALID_REQUEST, reason));
        }
        Err(error) => {
            let id = IdFinder::find(line);
            let reason = format!("this is no JSON: {error}");
            return Err(Refusal::new(id.as_ref(), ErrorCode::PARSE_ERROR, reason));
        }
    };
    let id = message.get("id").cloned();
    let invalid = |reason: &str| Refusal::new(id.as_ref(), ErrorCode::INVALID_REQUEST, reason);
    if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(invalid("\"jsonrpc\" has to be \"2.0\""));
    }
    if id.as_ref().is_some_and(|id| !is_id(id)) {
        return Err(invalid("\"id\" has to be a string or a whole number"));
    }
    match message.get("method").map(Value::as_str) {
        Some(None) => return Err(invalid("\"method\" has to be a string")),
        Some(Some(method)) => {
            if id.is_some() && !*begun && !begins(method, &message) {
                return Err(invalid("the session has not begun; send \"initialize\" first"));
            }
            if id.is_none() && !*begun {
                return Ok(None);
            }
            *begun = *begun || (id.is_some() && method != "ping");
        }
        None if !*begun => return Ok(None),
        None if message.contains_key("result") || message.contains_key("error") => {}
        None => return Err(invalid("a message has a \"method\", a \"result\" or an \"error\"")),
    }
    let read: ClientJsonRpcMessage = serde_json::from_value(Value::Object(message))
        .map_err(|error| invalid(&format!("this is no message: {error}")))?;
    match &read {
        // What rmcp cannot read it takes for a method of somebody else's.
        JsonRpcMessage::Request(request) => match &request.request {
            ClientRequest::CustomRequest(custom) if custom.method == "tools/call" => {
                let params = custom.params.clone().unwrap_or_default();
                let problem = serde_json::from_value::<CallToolRequestParams>(params).err();
                let reason = problem.map_or_else(|| "cannot be read".to_owned(), |error| error.to_string());
                let reason = format!("the parameters of tools/call: {reason}");
                Err(Refusal::new(id.as_ref(), ErrorCode::INVALID_PARAMS, reason))
            }
            _ => Ok(Some(read)),
        },
        _ => Ok(Some(read)),
    }
}

fn is_id(id: &Value) -> bool {
    id.is_string() || id.is_i64()
}

/// Whether a request may be the first of a session.
fn begins(method: &str, message: &Map<String, Value>) -> bool {
    let meta = message.get("params").and_then(|params| params.get("_meta"));
    matches!(method, "initialize" | "ping" | "server/discover")
        || meta.is_some_and(|meta| meta.get(VERSION_KEY).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn code(line: &str, mut begun: bool) -> Result<bool, (Option<RequestId>, i32)> {
        read(line.as_bytes(), &mut begun)
            .map(|message| message.is_some())
            .map_err(|refusal| (refusal.id, refusal.error.code.0))
    }

    #[test]
    fn mistakes_get_the_error_they_deserve() {
        let seven = Some(RequestId::Number(7));
        assert_eq!(code("hello {", true), Err((None, -32700)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":7,"method":}"#, true), Err((seven.clone(), -32700)));
        assert_eq!(code(r#"[{"jsonrpc":"2.0","id":7,"method":"ping"}]"#, true), Err((None, -32600)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":7}"#, true), Err((seven.clone(), -32600)));
        assert_eq!(code(r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, true), Err((seven.clone(), -32600)));
        for id in ["null", "1.5", "true", "123456789012345678901234567890", "[1]"] {
            let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(code(&line, true), Err((None, -32600)), "{id}");
        }
        let call =
            |params: &str| format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
        assert_eq!(code(&call("[1]"), true), Err((seven.clone(), -32600)));
        assert_eq!(code(&call(r#"{"Name":"call_tool"}"#), true), Err((seven.clone(), -32602)));
        assert_eq!(code(&call(r#"{"name":"call_tool"}"#), true), Ok(true));
        assert_eq!(code(&call(r#"{"name":"call_tool"}"#), false), Err((seven.clone(), -32600)));
        let deep = call(&format!(r#"{{"name":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000)));
        assert_eq!(code(&deep, true), Err((seven, -32700)));
    }

    #[test]
    fn what_is_right_passes() {
        assert_eq!(code("", false), Ok(false));
        assert_eq!(code("\u{feff}  \r", false), Ok(false));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#, false), Ok(true));
        let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!((code(notification, true), code(notification, false)), (Ok(true), Ok(false)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, false), Ok(false), "rmcp would end");
        let meta = json!({"_meta": {VERSION_KEY: "2026-07-28"}});
        let modern = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": meta});
        assert_eq!(code(&modern.to_string(), false), Ok(true));
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line in proptest::collection::vec(any::<u8>(), 0..200), begun: bool) {
            let mut begun = begun;
            if let Err(refusal) = read(&line, &mut begun) {
                prop_assert!(!refusal.error.message.is_empty());
            }
        }
    }
}
