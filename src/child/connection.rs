//! One MCP session with one child: handshake, tool list, calls. Every wait has a deadline, and the
//! task that owns the session ends the process when the session ends, for whatever reason.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rmcp::{
    ClientHandler, Peer, RoleClient, ServiceError, ServiceExt,
    model::{
        CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotificationParam,
        ClientCapabilities, ClientConfig, ClientRequest, Implementation, JsonObject, PaginatedRequestParams,
        ProgressNotificationParam, ProgressToken, ProtocolVersion, RequestId, ServerResult, Tool,
    },
    service::{
        ClientCacheConfig, ClientInitializeError, NotificationContext, PeerRequestOptions, RunningService,
    },
    transport::async_rw::AsyncRwTransport,
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{CallError, ConnectError, pool::PoolOptions, process::Process, stderr::StderrTail};
use crate::config::{StdioConfig, Timeouts};

/// Longest line taken from a child, in bytes; TypeScript hosts break above 10 MiB.
const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;
/// Most pages and tools of one `tools/list`; past them the list is cut with a warning.
const MAX_PAGES: usize = 100;
const MAX_TOOLS: usize = 10_000;
/// A burst of `tools/list_changed` is answered by one listing, this long after its first.
const CHANGE_PAUSE: Duration = Duration::from_millis(200);
/// For telling a child that a call is cancelled.
const NOTICE_LIMIT: Duration = Duration::from_secs(1);
/// For an ended child's exit code to be there, once its pipes are closed.
const EXIT_CODE_WAIT: Duration = Duration::from_millis(500);

/// What a server says of itself in the handshake.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ServerInfo {
    /// Program name.
    pub name: String,
    /// Title for people.
    pub title: Option<String>,
    /// Program version.
    pub version: String,
    /// How a model should use it.
    pub instructions: Option<String>,
    /// Protocol version agreed on.
    pub protocol: String,
}

/// One complete answer to `tools/list`.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The server's name in the configuration.
    pub server: String,
    /// What it says of itself.
    pub info: ServerInfo,
    /// Its tools, in its order.
    pub tools: Vec<Tool>,
}

/// A live session with a child.
pub struct Connection {
    server: String,
    pid: Option<u32>,
    peer: Peer<RoleClient>,
    listing: ArcSwap<Listing>,
    stderr: StderrTail,
    timeouts: Timeouts,
    progress: Arc<ProgressWatch>,
    in_flight: AtomicUsize,
    last_used: Mutex<Instant>,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Connection {
    /// Starts the program, shakes hands and lists its tools. When `cancel` fires or anything
    /// fails, the process is gone before this returns. `tasks` gets the task that owns the session.
    pub(super) async fn open(
        server: &str,
        config: &StdioConfig,
        options: &PoolOptions,
        listings: mpsc::Sender<Listing>,
        cancel: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, ConnectError> {
        let timeouts = options.timeouts;
        let (process, stdout, stdin) =
            Process::spawn(server, config, options.guard.as_deref(), timeouts.shutdown)?;
        let changed = Arc::new(Notify::new());
        let progress = Arc::new(ProgressWatch::default());
        let handler = ChildClient { progress: Arc::clone(&progress), changed: Arc::clone(&changed) };
        let transport = AsyncRwTransport::new(stdout, stdin).with_max_line_length(MAX_LINE_BYTES);
        let stderr = process.stderr();

        let setup = async {
            let limit = start_limit(&config.command, &timeouts);
            let running = match timeout(limit, handler.serve(transport)).await {
                Ok(Ok(running)) => running,
                Ok(Err(error)) => return Err(Failure::Handshake(Box::new(error))),
                Err(_) => return Err(Failure::Timeout("initialize", limit)),
            };
            let listing = list_with_deadline(server, running.peer(), timeouts.list).await?;
            Ok((running, listing))
        };
        let outcome = tokio::select! {
            outcome = setup => outcome,
            () = cancel.cancelled() => Err(Failure::ShuttingDown),
        };
        match outcome {
            Ok((running, listing)) => {
                let connection = Arc::new(Self {
                    server: server.to_owned(),
                    pid: process.id(),
                    peer: running.peer().clone(),
                    listing: ArcSwap::from_pointee(listing),
                    stderr,
                    timeouts,
                    progress,
                    in_flight: AtomicUsize::new(0),
                    last_used: Mutex::new(Instant::now()),
                    stop: CancellationToken::new(),
                    ended: CancellationToken::new(),
                });
                tasks.spawn(Arc::clone(&connection).own(running, process, changed, listings));
                Ok(connection)
            }
            Err(failure) => Err(failure.into_error(server, process, timeouts.shutdown).await),
        }
    }

    /// Owns session and process until either ends; then the process goes with all it started.
    async fn own(
        self: Arc<Self>,
        running: RunningService<RoleClient, ChildClient>,
        process: Process,
        changed: Arc<Notify>,
        listings: mpsc::Sender<Listing>,
    ) {
        let session = running.cancellation_token();
        let waiting = running.waiting();
        tokio::pin!(waiting);
        let relist = self.follow_changes(&changed, &listings);
        tokio::select! {
            _ = &mut waiting => {
                if !self.stop.is_cancelled() {
                    tracing::warn!(server = self.server, stderr = self.stderr.text(), "server ended by itself");
                }
            }
            () = self.stop.cancelled() => {
                session.cancel();
                // Closes the child's stdin. Bounded: a child that reads nothing may block it.
                timeout(self.timeouts.shutdown, &mut waiting).await.ok();
            }
            () = relist => {}
        }
        process.stop(self.timeouts.shutdown).await;
        self.ended.cancel();
    }

    /// Lists the tools anew whenever the child says that they changed. Never returns.
    async fn follow_changes(&self, changed: &Notify, listings: &mpsc::Sender<Listing>) {
        loop {
            changed.notified().await;
            tokio::time::sleep(CHANGE_PAUSE).await;
            match list_with_deadline(&self.server, &self.peer, self.timeouts.list).await {
                Ok(listing) => {
                    self.listing.store(Arc::new(listing.clone()));
                    listings.send(listing).await.ok();
                }
                Err(failure) => {
                    tracing::warn!(
                        server = self.server,
                        "its tools changed but could not be listed: {failure:?}"
                    );
                }
            }
        }
    }

    /// Calls a tool by its own name. The deadline for silence starts anew with each progress
    /// notification; `cancel` tells the child to stop and returns at once.
    pub async fn call(
        &self,
        tool: &str,
        arguments: Option<JsonObject>,
        cancel: &CancellationToken,
    ) -> Result<CallToolResult, CallError> {
        let mut params = CallToolRequestParams::new(tool.to_owned());
        params.arguments = arguments;
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        // Sending waits when the child does not read; that too has the deadline.
        let sending = self.peer.send_request_with_option(request, PeerRequestOptions::no_options());
        let handle = match timeout(self.timeouts.call, sending).await {
            Ok(sent) => sent.map_err(|error| self.call_error(tool, error))?,
            Err(_) => return Err(self.give_up(tool, self.timeouts.call)),
        };
        let (request_id, token) = (handle.id.clone(), handle.progress_token.clone());
        let alive = self.progress.watch(token);
        let total = Instant::now() + self.timeouts.call_total;
        let response = handle.await_response();
        tokio::pin!(response);
        let answer = loop {
            let silent_until = Instant::now() + self.timeouts.call;
            tokio::select! {
                answer = &mut response => break answer.map_err(|error| self.call_error(tool, error))?,
                () = alive.notify.notified() => {}
                () = tokio::time::sleep_until(silent_until.min(total)) => {
                    self.tell_cancelled(request_id, "no answer in time").await;
                    let limit = if total <= silent_until { self.timeouts.call_total } else { self.timeouts.call };
                    return Err(self.timed_out(tool, limit));
                }
                () = cancel.cancelled() => {
                    self.tell_cancelled(request_id, "the caller cancelled").await;
                    return Err(CallError::Cancelled { server: self.server.clone(), tool: tool.to_owned() });
                }
            }
        };
        match answer {
            ServerResult::CallToolResult(result) => Ok(result),
            ServerResult::InputRequiredResult(_) => {
                Err(self.invalid_answer(tool, "it asks for input, which is not handed on yet"))
            }
            ServerResult::CreateTaskResult(_) => {
                Err(self.invalid_answer(tool, "it started a task, which was not asked for"))
            }
            _ => Err(self.invalid_answer(tool, "the answer is no tool result")),
        }
    }

    /// Tells the child that nobody waits for an answer any more. A child that does not even take
    /// this in is of no use to anybody: its session ends, and the next call starts a new one.
    async fn tell_cancelled(&self, request: RequestId, reason: &str) {
        let notice = CancelledNotificationParam::new(Some(request), Some(reason.to_owned()));
        if timeout(NOTICE_LIMIT, self.peer.notify_cancelled(notice)).await.is_err() {
            tracing::warn!(server = self.server, "it reads nothing any more; ending it");
            self.stop();
        }
    }

    /// A call that could not even be sent in time.
    fn give_up(&self, tool: &str, limit: Duration) -> CallError {
        tracing::warn!(server = self.server, "it reads nothing any more; ending it");
        self.stop();
        self.timed_out(tool, limit)
    }

    fn call_error(&self, tool: &str, error: ServiceError) -> CallError {
        let (server, tool) = (self.server.clone(), tool.to_owned());
        match error {
            ServiceError::McpError(error) => CallError::Rejected {
                server,
                tool,
                code: error.code.0,
                message: error.message.into_owned(),
                data: error.data,
            },
            ServiceError::Cancelled { .. } if !self.stop.is_cancelled() => {
                CallError::Cancelled { server, tool }
            }
            ServiceError::TransportClosed
            | ServiceError::TransportSend(_)
            | ServiceError::Cancelled { .. } => {
                CallError::Closed { server, tool, stderr: self.stderr.text() }
            }
            other => CallError::InvalidAnswer { server, tool, reason: other.to_string() },
        }
    }

    fn timed_out(&self, tool: &str, limit: Duration) -> CallError {
        CallError::Timeout { server: self.server.clone(), tool: tool.to_owned(), limit }
    }

    fn invalid_answer(&self, tool: &str, reason: &str) -> CallError {
        CallError::InvalidAnswer {
            server: self.server.clone(),
            tool: tool.to_owned(),
            reason: reason.to_owned(),
        }
    }

    /// Process id of the child's group leader.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The latest complete tool list.
    pub fn listing(&self) -> Arc<Listing> {
        self.listing.load_full()
    }

    /// Calls under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Whether the session is over, so that a new call needs a new one.
    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed() || self.stop.is_cancelled() || self.ended.is_cancelled()
    }

    pub(super) fn begin_use(&self) {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn end_use(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// How long nothing has used it; zero while a call is under way.
    pub(super) fn idle_for(&self) -> Duration {
        if self.in_flight() > 0 {
            return Duration::ZERO;
        }
        self.last_used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Waits until the process and all it started are gone.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Asks the owning task to end session and process.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }
}

/// Programs that may fetch packages before they start.
fn start_limit(command: &str, timeouts: &Timeouts) -> Duration {
    const INSTALLERS: &[&str] =
        &["npx", "uvx", "uv", "bunx", "pnpm", "yarn", "pipx", "docker", "podman", "deno"];
    let program = std::path::Path::new(command).file_stem().and_then(|stem| stem.to_str());
    if program.is_some_and(|program| INSTALLERS.contains(&program)) {
        timeouts.install.max(timeouts.handshake)
    } else {
        timeouts.handshake
    }
}

/// Why a session did not come about, before the process was looked at for the reason.
#[derive(Debug)]
enum Failure {
    Handshake(Box<ClientInitializeError>),
    List(ServiceError),
    Timeout(&'static str, Duration),
    ShuttingDown,
}

impl Failure {
    /// Ends the process and turns what is known into an error for people.
    async fn into_error(self, server: &str, process: Process, grace: Duration) -> ConnectError {
        let tail = process.stderr();
        // A child whose pipes are closed is asked for its exit code first; one that hangs is not
        // given time to end by itself.
        let closed = match &self {
            Self::Handshake(error) if is_closed(error) => Some("during the handshake"),
            Self::List(ServiceError::TransportClosed | ServiceError::TransportSend(_)) => {
                Some("while listing its tools")
            }
            _ => None,
        };
        let patience = if closed.is_some() { EXIT_CODE_WAIT.max(grace) } else { grace };
        let status = process.stop(patience).await;
        let (server, stderr) = (server.to_owned(), tail.text());
        if let Some(when) = closed {
            let status = status.map_or_else(|| "no exit code".to_owned(), |status| status.to_string());
            return ConnectError::Exited { server, when, status, stderr };
        }
        match self {
            Self::Handshake(error) => {
                let message = match *error {
                    ClientInitializeError::JsonRpcError(error) => error.message.into_owned(),
                    other => other.to_string(),
                };
                ConnectError::Refused { server, what: "initialize", message, stderr }
            }
            Self::List(ServiceError::McpError(error)) => ConnectError::Refused {
                server,
                what: "tools/list",
                message: error.message.into_owned(),
                stderr,
            },
            Self::List(error) => {
                ConnectError::Refused { server, what: "tools/list", message: error.to_string(), stderr }
            }
            Self::Timeout(what, limit) => ConnectError::Timeout { server, what, limit, stderr },
            Self::ShuttingDown => ConnectError::ShuttingDown,
        }
    }
}

/// Whether a handshake failed because the child's pipes are closed.
fn is_closed(error: &ClientInitializeError) -> bool {
    matches!(error, ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. })
}

async fn list_with_deadline(
    server: &str,
    peer: &Peer<RoleClient>,
    limit: Duration,
) -> Result<Listing, Failure> {
    // The catalog is the cache; a stale list served on an error would hide the error.
    peer.set_response_cache_config(ClientCacheConfig::disabled()).await;
    match timeout(limit, list_all_tools(server, peer)).await {
        Ok(Ok(tools)) => Ok(Listing { server: server.to_owned(), info: server_info(peer), tools }),
        Ok(Err(error)) => Err(Failure::List(error)),
        Err(_) => Err(Failure::Timeout("tools/list", limit)),
    }
}

/// All pages, up to the bounds. A tool name given twice keeps its first definition.
async fn list_all_tools(server: &str, peer: &Peer<RoleClient>) -> Result<Vec<Tool>, ServiceError> {
    if peer.peer_info().is_some_and(|info| info.capabilities.tools.is_none()) {
        return Ok(Vec::new());
    }
    let mut tools: Vec<Tool> = Vec::new();
    let mut names = std::collections::HashSet::new();
    let mut cursors = std::collections::HashSet::new();
    let mut cursor: Option<String> = None;
    for _ in 0..MAX_PAGES {
        let mut params = PaginatedRequestParams::default();
        params.cursor.clone_from(&cursor);
        let page = peer.list_tools(cursor.is_some().then_some(params)).await?;
        for tool in page.tools {
            if names.insert(tool.name.clone()) {
                tools.push(tool);
            } else {
                tracing::warn!(server, tool = %tool.name, "tool listed twice; the first is kept");
            }
        }
        if tools.len() > MAX_TOOLS {
            tools.truncate(MAX_TOOLS);
            tracing::warn!(server, "more than {MAX_TOOLS} tools; the rest is left out");
            return Ok(tools);
        }
        match page.next_cursor {
            None => return Ok(tools),
            Some(next) if !cursors.insert(next.clone()) => {
                tracing::warn!(server, "tools/list repeats a cursor; listing stopped there");
                return Ok(tools);
            }
            next => cursor = next,
        }
    }
    tracing::warn!(server, "tools/list has more than {MAX_PAGES} pages; the rest is left out");
    Ok(tools)
}

fn server_info(peer: &Peer<RoleClient>) -> ServerInfo {
    let Some(info) = peer.peer_info() else { return ServerInfo::default() };
    let program = info.server_info.as_ref();
    ServerInfo {
        name: program.map(|program| program.name.clone()).unwrap_or_default(),
        title: program.and_then(|program| program.title.clone()),
        version: program.map(|program| program.version.clone()).unwrap_or_default(),
        instructions: info.instructions.clone(),
        protocol: info.protocol_version.to_string(),
    }
}

/// Calls under way that want to know of progress, by the token that rmcp gave each.
#[derive(Default)]
struct ProgressWatch(Mutex<HashMap<ProgressToken, Arc<Notify>>>);

/// Being told of a call's progress, until dropped.
struct Watching<'a> {
    watch: &'a ProgressWatch,
    token: ProgressToken,
    notify: Arc<Notify>,
}

impl ProgressWatch {
    fn calls(&self) -> MutexGuard<'_, HashMap<ProgressToken, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, token: ProgressToken) -> Watching<'_> {
        let notify = Arc::new(Notify::new());
        self.calls().insert(token.clone(), Arc::clone(&notify));
        Watching { watch: self, token, notify }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.watch.calls().remove(&self.token);
    }
}

/// Our side of the session, as the child sees it.
struct ChildClient {
    progress: Arc<ProgressWatch>,
    changed: Arc<Notify>,
}

impl ClientHandler for ChildClient {
    /// No capability is declared: tool lists depend on them, and nothing is relayed yet.
    fn get_info(&self) -> ClientConfig {
        let own = Implementation::new("orchestrator", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), own)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        if let Some(call) = self.progress.calls().get(&params.progress_token) {
            call.notify_one();
        }
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}
