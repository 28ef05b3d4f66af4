//! The pool: at most one connection to each server, opened when first needed, shared by all
//! callers, closed when idle, and ended for certain at shutdown.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{CallError, ConnectError, Connection, Listing, nearest};
use crate::config::{ServerConfig, Timeouts, Transport};

/// Children started at the same time; more would make each of them slower.
const CONCURRENT_STARTS: usize = 4;

/// What the pool needs to know besides the servers.
#[derive(Debug, Clone, Default)]
pub struct PoolOptions {
    /// Deadlines.
    pub timeouts: Timeouts,
    /// The orchestrator's executable, to run as guard of each child on Linux. Without it children
    /// lead a plain process group, which does not survive-proof a SIGKILL of the orchestrator.
    pub guard: Option<PathBuf>,
}

/// All connections. Clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    slots: BTreeMap<String, Arc<Slot>>,
    options: PoolOptions,
    listings: mpsc::Sender<Listing>,
    starts: Semaphore,
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
    /// Nothing runs.
    Idle,
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
                    state: Mutex::new(SlotState::Idle),
                };
                (server.clone(), Arc::new(slot))
            })
            .collect();
        let shared = Arc::new(Shared {
            slots,
            options,
            listings,
            starts: Semaphore::new(CONCURRENT_STARTS),
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
                    *state = SlotState::Starting(outcome.clone());
                    // In a task of its own: a caller that goes away must not undo it for others.
                    self.shared.tasks.spawn(Arc::clone(&self.shared).start(Arc::clone(slot), sender));
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

    /// Calls a tool on a server, starting the server if need be.
    pub async fn call(
        &self,
        server: &str,
        tool: &str,
        arguments: Option<rmcp::model::JsonObject>,
        cancel: &CancellationToken,
    ) -> Result<rmcp::model::CallToolResult, CallError> {
        let connection = tokio::select! {
            connection = self.acquire(server) => connection?,
            () = cancel.cancelled() => {
                return Err(CallError::Cancelled { server: server.to_owned(), tool: tool.to_owned() });
            }
        };
        connection.call(tool, arguments, cancel).await
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
        shared.tasks.close();
        // EOF, SIGTERM and SIGKILL each take `shutdown` at most, and some time for the last reaping.
        let limit = shared.options.timeouts.shutdown * 3 + Duration::from_secs(5);
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
    /// Opens the connection of a slot and tells all who wait.
    async fn start(self: Arc<Self>, slot: Arc<Slot>, sender: watch::Sender<StartOutcome>) {
        let outcome = self.open(&slot).await.map_err(Arc::new);
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
        if let Some(listing) = listing {
            tokio::select! {
                _ = self.listings.send(Listing::clone(&listing)) => {}
                () = self.closing.cancelled() => {}
            }
        }
    }

    async fn open(&self, slot: &Slot) -> Result<Arc<Connection>, ConnectError> {
        let server = slot.server.clone();
        if slot.config.disabled {
            return Err(ConnectError::Disabled { server });
        }
        let stdio = match &slot.config.transport {
            Transport::Stdio(stdio) => stdio,
            Transport::Remote(_) => {
                let reason = "remote servers are not supported yet".to_owned();
                return Err(ConnectError::Invalid { server, reason });
            }
            Transport::Invalid(reason) => {
                return Err(ConnectError::Invalid { server, reason: reason.clone() });
            }
        };
        let _turn = self.starts.acquire().await.map_err(|_| ConnectError::ShuttingDown)?;
        Connection::open(&server, stdio, &self.options, self.listings.clone(), &self.closing, &self.tasks)
            .await
    }

    /// Closes connections that nothing has used for the idle time, until shutdown.
    async fn close_idle(self: Arc<Self>) {
        let idle = self.options.timeouts.idle;
        let pause = (idle / 4).clamp(Duration::from_millis(20), Duration::from_secs(30));
        while tokio::time::timeout(pause, self.closing.cancelled()).await.is_err() {
            for slot in self.slots.values() {
                let mut state = slot.state();
                // Under the lock nobody can take a lease between the look and the stop.
                if let SlotState::Ready(connection) = &*state
                    && !connection.is_closed()
                    && connection.in_flight() == 0
                    && connection.idle_for() >= idle
                {
                    tracing::info!(server = slot.server, "closing it: unused for {} s", idle.as_secs_f32());
                    connection.stop();
                    *state = SlotState::Idle;
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
            return status(
                ServerState::Invalid,
                Some("remote servers are not supported yet".to_owned()),
                None,
            );
        }
        Transport::Stdio(_) => {}
    }
    match &*slot.state() {
        SlotState::Idle => status(ServerState::Idle, None, None),
        SlotState::Starting(_) => status(ServerState::Starting, None, None),
        SlotState::Ready(connection) if connection.is_closed() => {
            status(ServerState::Failed, Some("it ended by itself".to_owned()), None)
        }
        SlotState::Ready(connection) => status(ServerState::Ready, None, Some(connection)),
        SlotState::Failed(error) => status(ServerState::Failed, Some(error.to_string()), None),
    }
}
