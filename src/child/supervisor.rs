//! The supervisor of one server: a task that starts its child when somebody needs it, restarts it
//! after a crash with growing pauses, gives it up after too many, closes it when it is unused, and
//! tells everybody where it stands.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ConnectError, Connection, Lifecycle, Listing, connection::Opening, relay::Hosts, retry::backoff,
};
use crate::config::{ServerConfig, StdioConfig, Transport};

/// Why a remote server cannot be used.
pub(super) const REMOTE: &str = "remote servers are not supported yet";

/// How long somebody who needs a server waits for a pause to pass.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a server stands.
#[derive(Clone)]
pub(super) struct State {
    /// Starts that were begun so far.
    pub(super) attempt: u64,
    /// Crashes and failed starts in a row.
    pub(super) failures: u32,
    pub(super) phase: Phase,
}

#[derive(Clone)]
pub(super) enum Phase {
    /// Nothing runs; started when needed.
    Idle,
    /// Being started.
    Starting,
    /// Connected, or ending.
    Ready(Arc<Connection>),
    /// Waiting to be started again.
    Backoff { until: Instant, error: Arc<ConnectError> },
    /// The last start failed. The next call tries again, unless it was given up.
    Failed { error: Arc<ConnectError>, given_up: bool },
}

/// What all supervisors share.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) guard: Option<PathBuf>,
    pub(super) hosts: Hosts,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// What is to be known of earlier starts.
#[derive(Default)]
struct Past {
    /// How the child's sessions began.
    lifecycle: Option<Lifecycle>,
    /// Whether it was ever connected, now or in an earlier process.
    known: bool,
    /// When it last crashed or failed to start.
    failed_at: Option<Instant>,
    /// Ends the process of a start that failed.
    ending: Option<JoinHandle<()>>,
}

/// The handle of a supervisor.
pub(super) struct Supervisor {
    server: String,
    config: ServerConfig,
    state: watch::Sender<State>,
    /// The attempt that somebody waits for: a start is begun while it is beyond those made.
    wanted: watch::Sender<u64>,
    surroundings: Surroundings,
}

/// The right to use a connection. While one is held, the connection is not closed for idleness.
pub struct Lease {
    connection: Arc<Connection>,
}

impl std::ops::Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.end_use();
    }
}

impl Supervisor {
    /// Begins to supervise; starts nothing.
    pub(super) fn start(
        server: &str,
        config: &ServerConfig,
        lifecycle: Option<Lifecycle>,
        listings: mpsc::Sender<Listing>,
        surroundings: Surroundings,
    ) -> Arc<Self> {
        let supervisor = Arc::new(Self {
            server: server.to_owned(),
            config: config.clone(),
            state: watch::Sender::new(State { attempt: 0, failures: 0, phase: Phase::Idle }),
            wanted: watch::Sender::new(0),
            surroundings,
        });
        let tasks = supervisor.surroundings.tasks.clone();
        tasks.spawn(Arc::clone(&supervisor).run(lifecycle, listings));
        supervisor
    }

    pub(super) fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Where the server stands now.
    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// A connection, started if need be. All who wait share one start.
    pub(super) async fn acquire(&self) -> Result<Lease, Arc<ConnectError>> {
        let mut states = self.state.subscribe();
        // The attempt whose outcome is ours.
        let mut goal = None;
        loop {
            let state = states.borrow_and_update().clone();
            if self.surroundings.closing.is_cancelled() {
                return Err(Arc::new(ConnectError::ShuttingDown));
            }
            let settled = goal.is_some_and(|goal| state.attempt >= goal);
            match state.phase {
                Phase::Ready(connection) if connection.begin_use() => return Ok(Lease { connection }),
                Phase::Failed { error, given_up } if settled || given_up => return Err(error),
                Phase::Backoff { error, .. } if settled => return Err(error),
                Phase::Backoff { until, error }
                    if until.saturating_duration_since(Instant::now()) > PATIENCE =>
                {
                    let wait = until.saturating_duration_since(Instant::now());
                    return Err(Arc::new(ConnectError::Resting { server: self.server.clone(), wait, error }));
                }
                Phase::Starting => goal = goal.or(Some(state.attempt)),
                Phase::Ready(_) | Phase::Backoff { .. } | Phase::Failed { .. } | Phase::Idle => {
                    let next = *goal.get_or_insert(state.attempt + 1);
                    self.wanted.send_if_modified(|wanted| {
                        let more = next > *wanted;
                        *wanted = next.max(*wanted);
                        more
                    });
                }
            }
            tokio::select! {
                changed = states.changed() => {
                    if changed.is_err() {
                        return Err(Arc::new(ConnectError::ShuttingDown));
                    }
                }
                () = self.surroundings.closing.cancelled() => {}
            }
        }
    }

    /// Forgets failures and ends what runs, so that the next call starts the server afresh.
    pub(super) async fn restart(&self) -> Result<(), Arc<ConnectError>> {
        let mut running = None;
        let mut refused = None;
        self.state.send_modify(|state| {
            state.failures = 0;
            match &mut state.phase {
                Phase::Failed { error, .. } if error.is_configured_so() => refused = Some(Arc::clone(error)),
                Phase::Failed { .. } => state.phase = Phase::Idle,
                Phase::Ready(connection) => running = Some(Arc::clone(connection)),
                Phase::Backoff { until, .. } => *until = Instant::now(),
                Phase::Idle | Phase::Starting => {}
            }
        });
        if let Some(connection) = running {
            connection.stop();
            connection.ended().await;
        }
        refused.map_or(Ok(()), Err)
    }

    /// Ends the connection if nothing uses it.
    pub(super) fn close(&self) {
        if let Phase::Ready(connection) = &self.state.borrow().phase {
            connection.close_if_unused();
        }
    }

    fn set(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = phase);
    }

    async fn run(self: Arc<Self>, lifecycle: Option<Lifecycle>, listings: mpsc::Sender<Listing>) {
        let stdio = match &self.config.transport {
            Transport::Stdio(stdio) if !self.config.disabled => stdio.clone(),
            _ => return self.refuse(),
        };
        let closing = self.surroundings.closing.clone();
        let mut wanted = self.wanted.subscribe();
        let mut past = Past { lifecycle, known: lifecycle.is_some(), ..Past::default() };
        loop {
            // At rest.
            tokio::select! {
                () = closing.cancelled() => return,
                _ = wanted.wait_for(|wanted| *wanted > self.state.borrow().attempt) => {}
            }
            let State { attempt, phase, .. } = self.state();
            if matches!(phase, Phase::Failed { given_up: true, .. }) {
                // A wish from before it was given up.
                self.wanted.send_modify(|wanted| *wanted = attempt);
                continue;
            }
            self.keep_running(&stdio, &listings, &mut past).await;
            if closing.is_cancelled() {
                return;
            }
        }
    }

    /// Starts the child, and again after each crash, until it is closed, given up, or its first start
    /// fails: that is told to whoever asked, and the next who asks tries again.
    async fn keep_running(&self, stdio: &StdioConfig, listings: &mpsc::Sender<Listing>, past: &mut Past) {
        let restart = self.config.settings.restart;
        let mut ran = false;
        loop {
            if !self.pause().await {
                return;
            }
            self.state.send_modify(|state| {
                state.attempt += 1;
                state.phase = Phase::Starting;
            });
            let error = match self.open(stdio, listings, past).await {
                Ok(connection) => {
                    ran = true;
                    self.set(Phase::Ready(Arc::clone(&connection)));
                    let (listings, listing) = (listings.clone(), connection.listing());
                    // In a task of its own: whoever takes lists in may be slow.
                    self.surroundings.tasks.spawn(async move {
                        listings.send(Listing::clone(&listing)).await.ok();
                    });
                    self.watch(&connection).await;
                    if !connection.crashed() {
                        return self.set(Phase::Idle);
                    }
                    if connection.was_useful() {
                        // In a row means with nothing good between: one poisonous tool must not cost
                        // all others their server.
                        self.state.send_modify(|state| state.failures = 0);
                    }
                    ConnectError::Crashed {
                        server: self.server.clone(),
                        reason: connection.end_reason(),
                        stderr: connection.stderr(),
                    }
                }
                Err(ConnectError::ShuttingDown) => return self.set(Phase::Idle),
                Err(error) => error,
            };
            tracing::warn!(server = self.server, "{error}");
            let error = Arc::new(error);
            if error.needs_the_user() {
                return self.set(Phase::Failed { error, given_up: false });
            }
            let stable = past.failed_at.is_some_and(|at| at.elapsed() >= restart.stable_after);
            past.failed_at = Some(Instant::now());
            let failures = if stable { 1 } else { self.state.borrow().failures + 1 };
            let given_up = failures >= restart.crash_limit.max(1);
            let phase = if given_up {
                let error = ConnectError::GivenUp { server: self.server.clone(), failures, error };
                tracing::error!(server = self.server, "{error}");
                Phase::Failed { error: Arc::new(error), given_up }
            } else if ran {
                Phase::Backoff { until: Instant::now() + backoff(&restart, failures), error }
            } else {
                Phase::Failed { error, given_up }
            };
            let resting = matches!(phase, Phase::Failed { .. });
            self.state.send_modify(|state| {
                state.failures = failures;
                state.phase = phase;
            });
            if resting {
                return;
            }
        }
    }

    /// Waits for the pause that is due. False when the orchestrator ends meanwhile.
    async fn pause(&self) -> bool {
        let state = self.state();
        match state.phase {
            Phase::Backoff { .. } => {}
            Phase::Failed { error, .. } if state.failures > 0 => {
                let until = Instant::now() + backoff(&self.config.settings.restart, state.failures);
                self.set(Phase::Backoff { until, error });
            }
            _ => return true,
        }
        // The user may shorten it.
        let mut states = self.state.subscribe();
        loop {
            let Phase::Backoff { until, .. } = states.borrow_and_update().phase else { return true };
            tokio::select! {
                () = sleep(until.saturating_duration_since(Instant::now())) => return true,
                _ = states.changed() => {}
                () = self.surroundings.closing.cancelled() => return false,
            }
        }
    }

    async fn open(
        &self,
        stdio: &StdioConfig,
        listings: &mpsc::Sender<Listing>,
        past: &mut Past,
    ) -> Result<Arc<Connection>, ConnectError> {
        // Two processes of one server would write the same files.
        if let Some(ending) = past.ending.take() {
            ending.await.ok();
        }
        let Surroundings { guard, hosts, closing, tasks } = &self.surroundings;
        let opening = Opening {
            server: &self.server,
            settings: self.config.settings,
            guard: guard.as_deref(),
            known: past.known,
            hosts: hosts.clone(),
            listings: listings.clone(),
        };
        let opened = Connection::open(stdio, opening, &mut past.lifecycle, closing, tasks).await;
        past.known |= opened.is_ok();
        opened.map_err(|failed| {
            past.ending = failed.ending;
            if matches!(failed.error, ConnectError::Timeout { .. }) {
                // It may have become another, or have to install something first.
                (past.lifecycle, past.known) = (None, false);
            }
            failed.error
        })
    }

    /// Returns when the child and all it started are gone; sees to it that an unused one goes.
    async fn watch(&self, connection: &Connection) {
        let idle = self.config.settings.timeouts.idle;
        loop {
            let unused = connection.idle_for();
            if unused >= idle && connection.close_if_unused() {
                tracing::info!(server = self.server, "closing it: unused for {} s", idle.as_secs_f32());
            }
            let look_again = idle.saturating_sub(unused).max(Duration::from_millis(20));
            tokio::select! {
                () = connection.ended() => return,
                () = sleep(look_again) => {}
                () = self.surroundings.closing.cancelled() => {
                    connection.stop();
                    return connection.ended().await;
                }
            }
        }
    }

    /// A server that cannot be started at all.
    fn refuse(&self) {
        let server = self.server.clone();
        let error = match &self.config.transport {
            _ if self.config.disabled => ConnectError::Disabled { server },
            Transport::Invalid(reason) => ConnectError::Invalid { server, reason: reason.clone() },
            _ => ConnectError::Invalid { server, reason: REMOTE.to_owned() },
        };
        self.set(Phase::Failed { error: Arc::new(error), given_up: true });
    }
}
