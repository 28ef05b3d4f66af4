//! Where a server stands, in the words of `status` and `list_servers`.

use std::time::Instant;

use serde::Serialize;

use super::{
    Connection, Noise,
    breaker::BreakerState,
    pool::Member,
    supervisor::{Phase, REMOTE},
};
use crate::config::Transport;

/// A server's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerState {
    /// Switched off by the user.
    Disabled,
    /// Its configuration entry cannot be used.
    Invalid,
    /// Not running; started when needed.
    Idle,
    /// Being started.
    Starting,
    /// Running.
    Ready,
    /// It crashed or failed to start, and is started again after a pause.
    Backoff,
    /// Its last start failed, or it was given up; the reason says which.
    Failed,
}

/// A server's state with what explains it.
#[derive(Debug, Clone, Serialize)]
pub struct ServerStatus {
    /// The server.
    pub server: String,
    /// Where it stands.
    pub state: ServerState,
    /// Why, where it needs the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Process id of the running child's group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Calls under way.
    pub in_flight: usize,
    /// Calls that wait for their turn.
    pub queued: usize,
    /// The circuit breaker, unless it is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerState>,
    /// When a call may pass or a start is tried again, in ms from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// Crashes and failed starts in a row.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// What the running child sent that was of no use, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
    /// What was left out of its tool list, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

pub(super) fn status_of(server: &str, member: &Member) -> ServerStatus {
    let now = Instant::now();
    let mut status = ServerStatus {
        server: server.to_owned(),
        state: ServerState::Idle,
        reason: None,
        pid: None,
        in_flight: 0,
        queued: member.gate.queued(),
        breaker: None,
        retry_in_ms: None,
        failures: 0,
        noise: None,
        warnings: Vec::new(),
    };
    let config = member.supervisor.config();
    match &config.transport {
        _ if config.disabled => return ServerStatus { state: ServerState::Disabled, ..status },
        Transport::Stdio(_) => {}
        Transport::Invalid(reason) => {
            return ServerStatus { state: ServerState::Invalid, reason: Some(reason.clone()), ..status };
        }
        Transport::Remote(_) => {
            return ServerStatus { state: ServerState::Invalid, reason: Some(REMOTE.to_owned()), ..status };
        }
    }
    let state = member.supervisor.state();
    status.failures = state.failures;
    let (mut retry_in, mut given_up) = (None, false);
    match state.phase {
        Phase::Idle => {}
        Phase::Starting => status.state = ServerState::Starting,
        Phase::Ready(connection) => describe(&connection, &mut status),
        Phase::Backoff { until, error } => {
            status.state = ServerState::Backoff;
            status.reason = Some(crate::report::chain(&*error));
            retry_in = Some(until.saturating_duration_since(now));
        }
        Phase::Failed { error, given_up: for_good } => {
            given_up = for_good;
            status.state = ServerState::Failed;
            status.reason = Some(crate::report::chain(&*error));
        }
    }
    let (breaker, wait) = member.breaker().state(now);
    if breaker != BreakerState::Closed && !given_up {
        status.breaker = Some(breaker);
        retry_in = retry_in.max(wait);
    }
    status.retry_in_ms = retry_in.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    status
}

fn describe(connection: &Connection, status: &mut ServerStatus) {
    status.state = match (connection.is_closed(), connection.crashed()) {
        (false, _) => ServerState::Ready,
        (true, true) => ServerState::Backoff,
        (true, false) => ServerState::Idle,
    };
    status.pid = connection.pid();
    status.in_flight = connection.in_flight();
    let noise = connection.noise();
    status.noise = (noise != Noise::default()).then_some(noise);
    status.warnings.clone_from(&connection.listing().warnings);
    if connection.crashed() {
        status.reason = Some(connection.end_reason());
    }
}
