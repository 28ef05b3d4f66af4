//! The host of a session, as children reach it: its capabilities, its answers to what they ask, and
//! what it is told meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use rmcp::{
    Peer, RoleServer, ServiceError,
    model::{
        CancelledNotificationParam, ClientCapabilities, ClientResult, ErrorData, ProtocolVersion, RequestId,
        ServerNotification, ServerRequest,
    },
    service::{PeerRequestOptions, RequestContext},
};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::child::{Boxed, Host};

/// Levels of log messages (RFC 5424), least urgent first.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Notifications that may wait to be written.
const WAITING_NOTICES: usize = 32;

/// From this level on messages are handed on while the host has not said what it wants.
const DEFAULT_LEVEL: u8 = 1;

/// A connected host.
pub(super) struct SessionHost {
    session: u64,
    peer: Peer<RoleServer>,
    capabilities: ClientCapabilities,
    /// Whether it speaks the 2026-07-28 protocol, in which nothing is asked or told without a request.
    modern: bool,
    level: Arc<LogLevel>,
    waiting_notices: Arc<Semaphore>,
}

/// The least urgent level that a host wants to hear of.
pub(super) struct LogLevel(AtomicU8);

impl Default for LogLevel {
    fn default() -> Self {
        Self(AtomicU8::new(DEFAULT_LEVEL))
    }
}

impl LogLevel {
    /// Sets the level by its name.
    pub(super) fn set(&self, name: &str) {
        self.0.store(rank(name), Ordering::Relaxed);
    }

    fn admits(&self, name: &str) -> bool {
        rank(name) >= self.0.load(Ordering::Relaxed)
    }
}

/// An unknown level counts as `info`.
fn rank(name: &str) -> u8 {
    let place = LEVELS.iter().position(|level| *level == name);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(DEFAULT_LEVEL)
}

impl SessionHost {
    /// The host behind a request.
    pub(super) fn of(context: &RequestContext<RoleServer>, level: Arc<LogLevel>) -> Self {
        static SESSIONS: AtomicU64 = AtomicU64::new(0);
        let version = context.protocol_version();
        Self {
            session: SESSIONS.fetch_add(1, Ordering::Relaxed),
            peer: context.peer.clone(),
            capabilities: context.client_capabilities().unwrap_or_default(),
            modern: version.is_some_and(|version: ProtocolVersion| !version.has_initialize()),
            level,
            waiting_notices: Arc::new(Semaphore::new(WAITING_NOTICES)),
        }
    }
}

impl Host for SessionHost {
    fn session(&self) -> u64 {
        self.session
    }

    fn capabilities(&self) -> ClientCapabilities {
        self.capabilities.clone()
    }

    fn takes_input_requests(&self) -> bool {
        self.modern
    }

    fn ask(&self, request: ServerRequest) -> Boxed<'_, Result<ClientResult, ErrorData>> {
        Box::pin(async move {
            let sending = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options());
            let handle = sending.await.map_err(unanswered)?;
            let question = Question { peer: self.peer.clone(), id: Some(handle.id.clone()) };
            let answer = handle.await_response().await.map_err(unanswered);
            question.answered();
            answer
        })
    }

    fn tell(&self, notification: ServerNotification) -> Boxed<'_, ()> {
        Box::pin(async move {
            if let ServerNotification::CustomNotification(log) = &notification {
                let level =
                    log.params.as_ref().and_then(|params| params.get("level")).and_then(Value::as_str);
                if self.modern || !self.level.admits(level.unwrap_or_default()) {
                    return;
                }
            }
            // A host that does not read is told no more before it has read what waits.
            let Ok(place) = Arc::clone(&self.waiting_notices).try_acquire_owned() else { return };
            let peer = self.peer.clone();
            let told = tokio::spawn(async move {
                if let Err(error) = peer.send_notification(notification).await {
                    tracing::debug!("the host was not told: {error}");
                }
                drop(place);
            });
            told.await.ok();
        })
    }
}

fn unanswered(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        other => ErrorData::internal_error(format!("the client did not answer: {other}"), None),
    }
}

/// A question at the host. It is withdrawn when nobody waits for the answer any more.
struct Question {
    peer: Peer<RoleServer>,
    id: Option<RequestId>,
}

impl Question {
    fn answered(mut self) {
        self.id = None;
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let peer = self.peer.clone();
            let notice = CancelledNotificationParam::new(Some(id), Some("nobody waits any more".to_owned()));
            tokio::spawn(async move { peer.notify_cancelled(notice).await.ok() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_by_urgency() {
        let level = LogLevel::default();
        assert!(level.admits("info") && level.admits("error") && !level.admits("debug"));
        level.set("error");
        assert!(level.admits("emergency") && !level.admits("warning"));
        level.set("debug");
        assert!(level.admits("debug"));
    }
}
