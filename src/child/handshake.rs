//! The first exchange with a child, in both protocol eras: `server/discover` (2026-07-28) where it is
//! not known that the child is older, `initialize` otherwise. A child that is slow to come up may
//! answer both late and in any order; an answer of `server/discover` wins, since a child that has
//! given one may refuse `initialize`.

use std::time::Duration;

use rmcp::{
    RoleClient,
    model::{
        ClientJsonRpcMessage, ClientNotification, ClientRequest, ClientResult, DiscoverRequest,
        DiscoverRequestParams, DiscoverResult, ErrorCode, ErrorData, InitializeRequest, InitializeResult,
        InitializedNotification, JsonRpcMessage, ProtocolVersion, RequestId, RequestMetaObject,
        ServerJsonRpcMessage, ServerPeerInfo, ServerRequest, ServerResult,
    },
    transport::Transport,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{
    relay::ChildClient,
    transport::{UNREADABLE, Wire},
};

/// Ids that rmcp, which counts from 0, does not come to. They fit 32 bits: some children need that.
const DISCOVER: RequestId = RequestId::Number(2_000_000_000);
const INITIALIZE: RequestId = RequestId::Number(2_000_000_001);

/// How a child's session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// By `initialize`, up to protocol 2025-11-25.
    Initialize,
    /// By `server/discover`, from 2026-07-28 on.
    Discover,
}

impl Lifecycle {
    /// That of a protocol version, as it was agreed on before.
    pub fn of_protocol(version: &str) -> Option<Self> {
        let known = ProtocolVersion::KNOWN_VERSIONS.iter().find(|known| known.as_str() == version)?;
        Some(if known.has_initialize() { Self::Initialize } else { Self::Discover })
    }
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The child's pipes are closed. `probed` says that `server/discover` was all it had been sent.
    Closed { probed: bool },
    /// It answered with an error, or with something that is no answer.
    Refused(String),
}

/// Agrees with the child on a protocol. `known` is how its sessions began before. After `patience`
/// without an answer to `server/discover` it tries `initialize` as well. Waits for ever; the caller has
/// the deadline.
pub(super) async fn shake_hands<T: Transport<RoleClient>>(
    transport: &mut T,
    wire: &Wire,
    client: &ChildClient,
    known: Option<Lifecycle>,
    patience: Duration,
) -> Result<ServerPeerInfo, HandshakeError> {
    let mut talk =
        Talk { transport, client, discover: Sent::No, initialize: Sent::No, refusal: String::new() };
    if known == Some(Lifecycle::Initialize) {
        talk.send_initialize().await?;
    } else {
        talk.send_discover().await?;
    }
    let outcome = talk.run(patience).await;
    wire.forget(&DISCOVER);
    wire.forget(&INITIALIZE);
    outcome
}

/// Where one of the two requests stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    No,
    Waiting,
    Refused,
}

struct Talk<'a, T> {
    transport: &'a mut T,
    client: &'a ChildClient,
    discover: Sent,
    initialize: Sent,
    /// Why `initialize` was refused.
    refusal: String,
}

impl<T: Transport<RoleClient>> Talk<'_, T> {
    async fn run(&mut self, patience: Duration) -> Result<ServerPeerInfo, HandshakeError> {
        let probe_until = Instant::now() + patience;
        loop {
            let probing = self.initialize == Sent::No;
            let message = tokio::select! {
                message = self.transport.receive() => message.ok_or_else(|| self.closed())?,
                () = sleep_until(probe_until), if probing => {
                    self.send_initialize().await?;
                    continue;
                }
            };
            if let Some(info) = self.take(message).await? {
                return Ok(info);
            }
            // That it has no `server/discover` is nothing to tell of an older child.
            if let (Sent::Refused, Sent::Refused) = (&self.discover, &self.initialize) {
                return Err(HandshakeError::Refused(std::mem::take(&mut self.refusal)));
            }
        }
    }

    /// Takes in a message; the session stands when this gives the child's description.
    async fn take(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> Result<Option<ServerPeerInfo>, HandshakeError> {
        match message {
            JsonRpcMessage::Response(response) if response.id == DISCOVER => {
                match discovered(response.result) {
                    Ok(info) => return Ok(Some(info)),
                    Err(reason) => self.discover_refused(&reason).await?,
                }
            }
            JsonRpcMessage::Response(response) if response.id == INITIALIZE => {
                match initialized(response.result) {
                    Ok(info) => {
                        let done =
                            ClientNotification::InitializedNotification(InitializedNotification::default());
                        self.send(ClientJsonRpcMessage::notification(done)).await?;
                        return Ok(Some(info));
                    }
                    Err(reason) => self.initialize_refused(reason).await?,
                }
            }
            JsonRpcMessage::Error(error) if error.id == Some(DISCOVER) => {
                self.discover_refused(&reason_of(&error.error)).await?;
            }
            JsonRpcMessage::Error(error) if error.id == Some(INITIALIZE) => {
                self.initialize_refused(reason_of(&error.error)).await?;
            }
            JsonRpcMessage::Request(request) => {
                let answer = match request.request {
                    ServerRequest::PingRequest(_) => {
                        ClientJsonRpcMessage::response(ClientResult::empty(()), request.id)
                    }
                    _ => ClientJsonRpcMessage::error(
                        ErrorData::new(ErrorCode::INVALID_REQUEST, "the session does not stand yet", None),
                        Some(request.id),
                    ),
                };
                self.send(answer).await?;
            }
            _ => {}
        }
        Ok(None)
    }

    async fn discover_refused(&mut self, reason: &str) -> Result<(), HandshakeError> {
        tracing::debug!(server = self.client.server, "server/discover: {reason}");
        self.discover = Sent::Refused;
        if self.initialize == Sent::No { self.send_initialize().await } else { Ok(()) }
    }

    async fn initialize_refused(&mut self, reason: String) -> Result<(), HandshakeError> {
        self.initialize = Sent::Refused;
        self.refusal = reason;
        if self.discover == Sent::No { self.send_discover().await } else { Ok(()) }
    }

    async fn send_discover(&mut self) -> Result<(), HandshakeError> {
        self.discover = Sent::Waiting;
        let mut request = DiscoverRequest::new(DiscoverRequestParams {});
        let own = self.client.config(Lifecycle::Discover);
        request.extensions.insert(RequestMetaObject::with_client_context(
            ProtocolVersion::LATEST,
            own.client_info,
            own.capabilities,
        ));
        self.send(ClientJsonRpcMessage::request(ClientRequest::DiscoverRequest(request), DISCOVER)).await
    }

    async fn send_initialize(&mut self) -> Result<(), HandshakeError> {
        self.initialize = Sent::Waiting;
        let request = InitializeRequest::new(self.client.config(Lifecycle::Initialize));
        self.send(ClientJsonRpcMessage::request(ClientRequest::InitializeRequest(request), INITIALIZE)).await
    }

    async fn send(&mut self, message: ClientJsonRpcMessage) -> Result<(), HandshakeError> {
        let sent = self.transport.send(message).await;
        sent.map_err(|_| self.closed())
    }

    fn closed(&self) -> HandshakeError {
        HandshakeError::Closed { probed: self.discover != Sent::No && self.initialize == Sent::No }
    }
}

fn discovered(result: ServerResult) -> Result<ServerPeerInfo, String> {
    let defaults = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "capabilities": {}});
    let result: DiscoverResult = read(result, &defaults)?;
    let version = result.supported_versions.iter().find(|version| **version == ProtocolVersion::LATEST);
    match version.cloned() {
        Some(version) => Ok(ServerPeerInfo::from_discover_result(version, result)),
        None => Err(versions_differ(&result.supported_versions)),
    }
}

fn initialized(result: ServerResult) -> Result<ServerPeerInfo, String> {
    let defaults = json!({"capabilities": {}, "serverInfo": {"name": "", "version": ""}});
    let result: InitializeResult = read(result, &defaults)?;
    let version = &result.protocol_version;
    if ProtocolVersion::KNOWN_VERSIONS.contains(version) && version.has_initialize() {
        Ok(result.into())
    } else {
        Err(versions_differ(std::slice::from_ref(version)))
    }
}

/// Reads a result, with defaults for what some servers leave out.
fn read<R: serde::de::DeserializeOwned>(result: ServerResult, defaults: &Value) -> Result<R, String> {
    let unreadable = |reason: &str| format!("its answer cannot be read: {reason}");
    let ServerResult::CustomResult(raw) = result else { return Err(unreadable("it is no result")) };
    let Value::Object(mut fields) = raw.0 else { return Err(unreadable("it is no object")) };
    for (key, value) in defaults.as_object().into_iter().flatten() {
        fields.entry(key.clone()).or_insert_with(|| value.clone());
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| unreadable(&error.to_string()))
}

fn versions_differ(server: &[ProtocolVersion]) -> String {
    let list = |versions: &[ProtocolVersion]| {
        versions.iter().map(ProtocolVersion::as_str).collect::<Vec<_>>().join(", ")
    };
    format!(
        "it speaks protocol {}, and the orchestrator {}",
        if server.is_empty() { "none".to_owned() } else { list(server) },
        list(ProtocolVersion::KNOWN_VERSIONS)
    )
}

/// A refusal in words. One for the version says which there are.
fn reason_of(error: &ErrorData) -> String {
    let supported = error.data.as_ref().and_then(|data| data.get("supported"));
    let supported: Option<Vec<ProtocolVersion>> =
        supported.and_then(|versions| serde_json::from_value(versions.clone()).ok());
    match supported {
        Some(versions) if error.code == ErrorCode::UNSUPPORTED_PROTOCOL_VERSION => versions_differ(&versions),
        _ if error.code == UNREADABLE => format!("its answer cannot be read: {}", error.message),
        _ => format!("{} (code {})", error.message, error.code.0),
    }
}
