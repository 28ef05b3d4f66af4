//! The pool: at most one connection to each server, opened when first needed, shared by all
//! callers, closed when idle, and ended for certain at shutdown.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{ConnectError, Connection, Listing, nearest};
use crate::config::{ServerConfig, Timeouts, Transport};

/// What the pool needs to know besides the servers.
#[derive(Debug, Clone, Default)]
pub struct PoolOptions {
    /// Deadlines.
    pub timeouts: Timeouts,
    /// The orchestrator's executable, to run as guard of each child on Linux. Without it children
    /// lead a plain process group, which does not survive-proof a SIGKILL of the orchestrator.
    pub guard: Option<PathBuf>,
}

impl PoolOptions {
    /// EOF, SIGTERM and SIGKILL each take `shutdown` at most, and some time for the last reaping.
    fn ending_limit(&self) -> Duration {
        self.timeouts.shutdown * 3 + Duration::from_secs(5)
    }
}

/// Why a remote server cannot be used.
const REMOTE: &str = "remote servers are not supported yet";

/// All connections. Clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    slots: BTreeMap<String, Arc<Slot>>,
    options: PoolOptions,
    /// None once the pool is shut down, so that the receiver sees an end.
    listings: Mutex<Option<mpsc::Sender<Listing>>>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// A server's place in the pool.
struct Slot {
    server: String,
    config: ServerConfig,
    state: Mutex<SlotState>,
}

type StartOutcome = Option<Result<Arc<Connection>, Arc<ConnectError>>>;

enum SlotState {
    /// Nothing runs, but the connection that ran last may still be ending.
    Idle(Option<Arc<Connection>>),
    /// Being started; all who need it wait for the same outcome.
    Starting(watch::Receiver<StartOutcome>),
    /// Connected, or it was until the child ended.
    Ready(Arc<Connection>),
    /// The last start failed. The next call tries again.
    Failed(Arc<ConnectError>),
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the connection if no call is under way and `test` agrees; says whether it did. Under
    /// the lock nobody can take a lease between the look and the stop.
    fn close_if(&self, test: impl FnOnce(&Connection) -> bool) -> bool {
        let mut state = self.state();
        match &*state {
            SlotState::Ready(connection)
                if !connection.is_closed() && connection.in_flight() == 0 && test(connection) =>
            {
                let connection = Arc::clone(connection);
                connection.stop();
                *state = SlotState::Idle(Some(connection));
                true
            }
            _ => false,
        }
    }
}

/// Where a server stands, for `status` and `list_servers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
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
    /// Its last start failed, or it ended by itself; the next call starts it again.
    Failed,
}

/// A server's state with what explains it.
#[derive(Debug, Clone, serde::Serialize)]
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

impl Pool {
    /// A pool over `servers`; starts none. Each tool list that a child gives, at its start and
    /// after each change, goes to `listings`.
    pub fn new(
        servers: &BTreeMap<String, ServerConfig>,
        options: PoolOptions,
        listings: mpsc::Sender<Listing>,
    ) -> Self {
        let slots = servers
            .iter()
            .map(|(server, config)| {
                let slot = Slot {
                    server: server.clone(),
                    config: config.clone(),
                    state: Mutex::new(SlotState::Idle(None)),
                };
                (server.clone(), Arc::new(slot))
            })
            .collect();
        let shared = Arc::new(Shared {
            slots,
            options,
            listings: Mutex::new(Some(listings)),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(Arc::clone(&shared).close_idle());
        Self { shared }
    }

    /// A connection to `server`, started if need be. Concurrent first calls start one process.
    pub async fn acquire(&self, server: &str) -> Result<Lease, Arc<ConnectError>> {
        let slot = self.shared.slots.get(server).ok_or_else(|| {
            let names = self.shared.slots.keys().map(String::as_str);
            ConnectError::Unknown {
                server: server.to_owned(),
                suggestion: nearest(server, names).map(str::to_owned),
            }
        })?;
        let mut starting = {
            let mut state = slot.state();
            if self.shared.closing.is_cancelled() {
                return Err(Arc::new(ConnectError::ShuttingDown));
            }
            match &*state {
                SlotState::Ready(connection) if !connection.is_closed() => {
                    return Ok(lease(connection));
                }
                SlotState::Starting(outcome) => outcome.clone(),
                _ => {
                    let (sender, outcome) = watch::channel(None);
                    let before = std::mem::replace(&mut *state, SlotState::Starting(outcome.clone()));
                    let previous = match before {
                        SlotState::Ready(connection) => Some(connection),
                        SlotState::Idle(connection) => connection,
                        SlotState::Starting(_) | SlotState::Failed(_) => None,
                    };
                    // In a task of its own: a caller that goes away must not undo it for others.
                    self.shared.tasks.spawn(Arc::clone(&self.shared).start(
                        Arc::clone(slot),
                        previous,
                        sender,
                    ));
                    outcome
                }
            }
        };
        let outcome = match starting.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        };
        match outcome {
            Some(Ok(connection)) => Ok(lease(&connection)),
            Some(Err(error)) => Err(error),
            None => Err(Arc::new(ConnectError::ShuttingDown)),
        }
    }

    /// Ends the connection to a server if nothing uses it.
    pub fn close(&self, server: &str) {
        if let Some(slot) = self.shared.slots.get(server) {
            slot.close_if(|_| true);
        }
    }

    /// Where every server stands, by name.
    pub fn status(&self) -> Vec<ServerStatus> {
        self.shared.slots.values().map(|slot| status_of(slot)).collect()
    }

    /// Ends every child and waits until all are gone, at the latest when SIGKILL has done it.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        shared.closing.cancel();
        for slot in shared.slots.values() {
            if let SlotState::Ready(connection) = &*slot.state() {
                connection.stop();
            }
        }
        shared.listings().take();
        shared.tasks.close();
        let limit = shared.options.ending_limit();
        if tokio::time::timeout(limit, shared.tasks.wait()).await.is_err() {
            tracing::error!("some children were still not gone after {} s", limit.as_secs());
        }
    }
}

fn lease(connection: &Arc<Connection>) -> Lease {
    connection.begin_use();
    Lease { connection: Arc::clone(connection) }
}

impl Shared {
    fn listings(&self) -> MutexGuard<'_, Option<mpsc::Sender<Listing>>> {
        self.listings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the connection of a slot and tells all who wait.
    async fn start(
        self: Arc<Self>,
        slot: Arc<Slot>,
        previous: Option<Arc<Connection>>,
        sender: watch::Sender<StartOutcome>,
    ) {
        // Two processes of one server would write the same files.
        if let Some(previous) = previous {
            tokio::time::timeout(self.options.ending_limit(), previous.ended()).await.ok();
        }
        let listings = self.listings().clone();
        let outcome = match &listings {
            Some(listings) => self.open(&slot, listings.clone()).await,
            None => Err(ConnectError::ShuttingDown),
        };
        let outcome = outcome.map_err(Arc::new);
        if let Err(error) = &outcome {
            tracing::warn!(server = slot.server, "{error}");
        }
        let listing = outcome.as_ref().ok().map(|connection| connection.listing());
        *slot.state() = match &outcome {
            Ok(connection) => SlotState::Ready(Arc::clone(connection)),
            Err(error) => SlotState::Failed(Arc::clone(error)),
        };
        if self.closing.is_cancelled()
            && let Ok(connection) = &outcome
        {
            connection.stop();
        }
        sender.send_replace(Some(outcome));
        if let (Some(listing), Some(listings)) = (listing, listings) {
            // An error means that nobody takes lists in.
            listings.send(Listing::clone(&listing)).await.ok();
        }
    }

    async fn open(
        &self,
        slot: &Slot,
        listings: mpsc::Sender<Listing>,
    ) -> Result<Arc<Connection>, ConnectError> {
        let server = slot.server.clone();
        if slot.config.disabled {
            return Err(ConnectError::Disabled { server });
        }
        match &slot.config.transport {
            Transport::Stdio(stdio) => {
                Connection::open(&server, stdio, &self.options, listings, &self.closing, &self.tasks).await
            }
            Transport::Remote(_) => Err(ConnectError::Invalid { server, reason: REMOTE.to_owned() }),
            Transport::Invalid(reason) => Err(ConnectError::Invalid { server, reason: reason.clone() }),
        }
    }

    /// Closes connections that nothing has used for the idle time, until shutdown.
    async fn close_idle(self: Arc<Self>) {
        let idle = self.options.timeouts.idle;
        let pause = (idle / 4).clamp(Duration::from_millis(20), Duration::from_secs(30));
        while tokio::time::timeout(pause, self.closing.cancelled()).await.is_err() {
            for slot in self.slots.values() {
                if slot.close_if(|connection| connection.idle_for() >= idle) {
                    tracing::info!(server = slot.server, "closing it: unused for {} s", idle.as_secs_f32());
                }
            }
        }
    }
}

fn status_of(slot: &Slot) -> ServerStatus {
    let status = |state, reason: Option<String>, connection: Option<&Connection>| ServerStatus {
        server: slot.server.clone(),
        state,
        reason,
        pid: connection.and_then(Connection::pid),
        in_flight: connection.map_or(0, Connection::in_flight),
    };
    if slot.config.disabled {
        return status(ServerState::Disabled, None, None);
    }
    match &slot.config.transport {
        Transport::Invalid(reason) => return status(ServerState::Invalid, Some(reason.clone()), None),
        Transport::Remote(_) => {
            return status(ServerState::Invalid, Some(REMOTE.to_owned()), None);
        }
        Transport::Stdio(_) => {}
    }
    match &*slot.state() {
        SlotState::Idle(_) => status(ServerState::Idle, None, None),
        SlotState::Starting(_) => status(ServerState::Starting, None, None),
        SlotState::Ready(connection) if connection.is_closed() => {
            status(ServerState::Failed, Some("it ended by itself".to_owned()), None)
        }
        SlotState::Ready(connection) => status(ServerState::Ready, None, Some(connection)),
        SlotState::Failed(error) => status(ServerState::Failed, Some(error.to_string()), None),
    }
}
