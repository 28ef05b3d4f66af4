//! One MCP session with one child, from the start of its process to its end. Every wait has a
//! deadline, and the task that owns the session ends the process when the session ends, for whatever
//! reason.

use std::{
    process::ExitStatus,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rmcp::{
    Peer, RoleClient, ServiceError,
    model::{CancelledNotificationParam, ClientRequest, RequestId, ServerPeerInfo, ServerResult},
    service::{PeerRequestOptions, RunningService, serve_directly},
};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Lifecycle, Listing, Noise,
    handshake::shake_hands,
    listing::list_tools,
    process::Process,
    relay::{Callers, ChildClient, Hosts, relay_logs},
    start::{Failed, Failure, in_words, start_limit},
    stderr::StderrTail,
    transport::{ChildTransport, Wire},
};
use crate::config::{ChildSettings, Limits, StdioConfig, Timeouts};

/// For the rest of what an ended child said.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// For telling a child that a call is cancelled.
const NOTICE_LIMIT: Duration = Duration::from_secs(1);
/// More uses than there ever are: no further one begins.
const CLOSING: usize = usize::MAX / 2;

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

/// What a connection is opened with, besides the program.
pub(super) struct Opening<'a> {
    pub(super) server: &'a str,
    pub(super) settings: ChildSettings,
    /// The orchestrator's executable, to run as guard of the child on Linux.
    pub(super) guard: Option<&'a std::path::Path>,
    /// Whether it started before, so that what it needs is installed.
    pub(super) known: bool,
    pub(super) hosts: Hosts,
    pub(super) listings: mpsc::Sender<Listing>,
}

/// A live session with a child.
pub struct Connection {
    server: String,
    pid: Option<u32>,
    peer: Peer<RoleClient>,
    listing: ArcSwap<Listing>,
    stderr: StderrTail,
    settings: ChildSettings,
    wire: Arc<Wire>,
    pub(super) callers: Arc<Callers>,
    /// Calls under way, or [`CLOSING`].
    uses: Arc<AtomicUsize>,
    /// A call that its caller gave up may keep the child busy until then.
    busy_until: Mutex<Instant>,
    last_used: Mutex<Instant>,
    timeouts_in_a_row: AtomicU32,
    was_useful: AtomicBool,
    blamed: AtomicBool,
    /// Told when a call timed out: is anybody there?
    doubt: Notify,
    /// Cancellations that are on their way to the child.
    notices: TaskTracker,
    stop: CancellationToken,
    ended: CancellationToken,
    /// Why it is ending or has ended; none while it runs, or when it was asked to end.
    end: Arc<OnceLock<String>>,
}

impl Connection {
    /// Starts the program, shakes hands and lists its tools. When `cancel` fires or anything fails, the
    /// process is ended by a task, which [`Failed`] holds, so that the reason is told without waiting
    /// for that. `tasks` gets this task and the one that owns the session.
    /// `lifecycle` is how this child's sessions began before, and then how this one did.
    pub(super) async fn open(
        config: &StdioConfig,
        opening: Opening<'_>,
        lifecycle: &mut Option<Lifecycle>,
        cancel: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, Failed> {
        let opened = match Self::open_once(config, &opening, *lifecycle, cancel, tasks).await {
            // Perhaps it cannot bear `server/discover`. It is not asked again, unless it refuses
            // `initialize`.
            Err(Failed { probed: true, .. }) => {
                *lifecycle = Some(Lifecycle::Initialize);
                Self::open_once(config, &opening, *lifecycle, cancel, tasks).await
            }
            outcome => outcome,
        };
        let connection = opened?;
        *lifecycle = Lifecycle::of_protocol(&connection.listing().info.protocol);
        Ok(connection)
    }

    async fn open_once(
        config: &StdioConfig,
        opening: &Opening<'_>,
        lifecycle: Option<Lifecycle>,
        cancel: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Arc<Self>, Failed> {
        let &Opening { server, settings, .. } = opening;
        let timeouts = settings.timeouts;
        let (mut process, stdout, stdin) = Process::spawn(server, config, opening.guard, timeouts.shutdown)
            .map_err(|error| Failed { error, probed: false, ending: None })?;
        let (wire, logs) = Wire::new(server, settings.limits);
        let callers = Arc::new(Callers::default());
        let client = ChildClient {
            server: server.to_owned(),
            hosts: opening.hosts.clone(),
            callers: Arc::clone(&callers),
            patience: timeouts.call_total,
            gone: wire.closed.clone(),
        };
        let mut transport = ChildTransport::new(stdout, stdin, Arc::clone(&wire));

        let setup = async {
            let limit = start_limit(config, &timeouts, opening.known);
            // A child that is known to be modern is given more time, but may have become another.
            let patience = if lifecycle == Some(Lifecycle::Discover) { limit / 2 } else { timeouts.discover };
            let shaking = shake_hands(&mut transport, &wire, &client, lifecycle, patience);
            let info = match timeout(limit, shaking).await {
                Ok(shaken) => shaken.map_err(Failure::Handshake)?,
                Err(_) => return Err(Failure::Timeout("initialize", limit)),
            };
            let running = serve_directly(client, transport, Some(info));
            let listing = list(server, running.peer(), &settings).await?;
            Ok((running, listing))
        };
        let setup = async {
            tokio::select! {
                outcome = setup => outcome,
                () = cancel.cancelled() => Err(Failure::ShuttingDown),
            }
        };
        let outcome = process.during(Box::pin(setup)).await;
        match outcome {
            Ok((running, listing)) => {
                let connection = Arc::new(Self {
                    server: server.to_owned(),
                    pid: process.id(),
                    peer: running.peer().clone(),
                    listing: ArcSwap::from_pointee(listing),
                    stderr: process.stderr(),
                    settings,
                    wire,
                    callers,
                    uses: Arc::default(),
                    busy_until: Mutex::new(Instant::now()),
                    last_used: Mutex::new(Instant::now()),
                    timeouts_in_a_row: AtomicU32::new(0),
                    was_useful: AtomicBool::new(false),
                    blamed: AtomicBool::new(false),
                    doubt: Notify::new(),
                    notices: TaskTracker::new(),
                    stop: CancellationToken::new(),
                    ended: CancellationToken::new(),
                    end: Arc::default(),
                });
                tokio::spawn(relay_logs(server.to_owned(), opening.hosts.clone(), logs));
                tasks.spawn(Arc::clone(&connection).own(running, process, opening.listings.clone()));
                Ok(connection)
            }
            Err(failure) => Err(failure.into_error(server, process, timeouts.shutdown, tasks).await),
        }
    }

    /// Owns session and process until either ends; then the process goes with all it started.
    async fn own(
        self: Arc<Self>,
        running: RunningService<RoleClient, ChildClient>,
        mut process: Process,
        listings: mpsc::Sender<Listing>,
    ) {
        let session = running.cancellation_token();
        let waiting = running.waiting();
        tokio::pin!(waiting);
        let shutdown = self.timeouts().shutdown;
        // Whether the session is over, and whether the child ended it.
        let (mut over, mut by_itself) = (false, false);
        tokio::select! {
            _ = &mut waiting => (over, by_itself) = (true, true),
            // Its pipes may be held open by something that it started.
            () = process.exited() => by_itself = true,
            () = self.stop.cancelled() => {}
            () = self.follow_changes(&listings) => {}
            () = self.watch_health() => {}
        }
        if by_itself && !over {
            // What it said last is still read.
            over = timeout(LAST_WORDS, &mut waiting).await.is_ok();
        }
        if !over {
            let closing = async {
                self.notices.close();
                timeout(NOTICE_LIMIT, self.notices.wait()).await.ok();
                session.cancel();
                // Closes the child's stdin. Bounded: a child that reads nothing may block it.
                timeout(shutdown, &mut waiting).await.ok();
            };
            process.during(closing).await;
        }
        let status = process.stop(shutdown).await;
        if by_itself && !self.stop.is_cancelled() {
            self.end.get_or_init(|| ending(status));
        }
        if let Some(reason) = self.end.get() {
            tracing::warn!(server = self.server, stderr = self.stderr.text(), "the child is gone: {reason}");
        }
        self.ended.cancel();
    }

    /// Tells the child that nobody waits for an answer any more, without waiting for it to be told. A
    /// child that does not even take this in, while nothing else is under way that may keep it busy, is
    /// of no use to anybody: it is ended like one that crashed.
    pub(super) fn tell_cancelled(&self, request: RequestId, reason: &str) {
        let (peer, stop, end) = (self.peer.clone(), self.stop.clone(), Arc::clone(&self.end));
        let uses = Arc::clone(&self.uses);
        let notice = CancelledNotificationParam::new(Some(request), Some(reason.to_owned()));
        self.notices.spawn(async move {
            let told = timeout(NOTICE_LIMIT, peer.notify_cancelled(notice)).await;
            if told.is_err() && uses.load(Ordering::Acquire) == 0 {
                end.get_or_init(|| "it reads nothing any more".to_owned());
                stop.cancel();
            }
        });
    }

    /// A request of our own, with a deadline; none when it passes. The child is told then.
    pub(super) async fn ask(
        &self,
        request: ClientRequest,
        limit: Duration,
    ) -> Option<Result<ServerResult, ServiceError>> {
        let sending = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options());
        let handle = match timeout(limit, sending).await.ok()? {
            Ok(handle) => handle,
            Err(error) => return Some(Err(error)),
        };
        let id = handle.id.clone();
        let answer = timeout(limit, handle.await_response()).await;
        if answer.is_err() {
            self.tell_cancelled(id, "no answer in time");
        }
        answer.ok()
    }

    /// A call brought no answer in time.
    pub(super) fn note_timeout(&self) {
        self.timeouts_in_a_row.fetch_add(1, Ordering::AcqRel);
        self.doubt.notify_one();
    }

    /// Resolves after a call that brought no answer in time.
    pub(super) async fn doubt(&self) {
        self.doubt.notified().await;
    }

    pub(super) fn timeouts_in_a_row(&self) -> u32 {
        self.timeouts_in_a_row.load(Ordering::Acquire)
    }

    /// A call was given up by its caller. The child may go on with it for as long as a call may take,
    /// and hear nothing else meanwhile.
    pub(super) fn note_cancelled(&self) {
        *lock(&self.busy_until) = Instant::now() + self.timeouts().call;
    }

    /// How long the child said nothing although nothing kept it busy.
    pub(super) fn quiet_for(&self) -> Duration {
        let idle = lock(&self.busy_until).elapsed();
        self.wire.heard().elapsed().min(idle)
    }

    /// A call was answered.
    pub(super) fn note_answer(&self) {
        self.timeouts_in_a_row.store(0, Ordering::Release);
        self.was_useful.store(true, Ordering::Release);
    }

    /// Whether its end is to be counted as a failure: once, however many calls were under way, and not
    /// when it was asked for.
    pub(super) fn take_blame(&self) -> bool {
        let asked = self.stop.is_cancelled() && !self.crashed();
        !asked && !self.blamed.swap(true, Ordering::AcqRel)
    }

    /// Whether any call was ever answered.
    pub(super) fn was_useful(&self) -> bool {
        self.was_useful.load(Ordering::Acquire)
    }

    /// Why it is ending, unless that is known already.
    pub(super) fn note_end(&self, reason: &str) {
        self.end.get_or_init(|| reason.to_owned());
    }

    pub(super) fn set_listing(&self, listing: Listing) {
        self.listing.store(Arc::new(listing));
    }

    /// The server's name in the configuration.
    pub fn server(&self) -> &str {
        &self.server
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
        match self.uses.load(Ordering::Acquire) {
            CLOSING.. => 0,
            uses => uses,
        }
    }

    /// What the child sent that was of no use.
    pub fn noise(&self) -> Noise {
        self.wire.noise()
    }

    pub(super) fn peer(&self) -> &Peer<RoleClient> {
        &self.peer
    }

    pub(super) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    pub(super) fn settings(&self) -> ChildSettings {
        self.settings
    }

    pub(super) fn timeouts(&self) -> Timeouts {
        self.settings.timeouts
    }

    pub(super) fn limits(&self) -> Limits {
        self.settings.limits
    }

    pub(super) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Why it ended, in words; empty while that is not known.
    pub(super) fn end_reason(&self) -> String {
        self.end.get().cloned().unwrap_or_default()
    }

    /// Whether it ended without being asked to.
    pub(super) fn crashed(&self) -> bool {
        self.end.get().is_some()
    }

    /// Whether the session is over, so that a new call needs a new one.
    pub(super) fn is_closed(&self) -> bool {
        self.peer.is_transport_closed() || self.stop.is_cancelled() || self.ended.is_cancelled()
    }

    /// Takes part in it, unless it is closing.
    pub(super) fn begin_use(&self) -> bool {
        let one_more = |uses| (uses < CLOSING).then_some(uses + 1);
        !self.is_closed() && self.uses.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    /// Ends it if nothing uses it; from then on nothing can. Says whether it did.
    pub(super) fn close_if_unused(&self) -> bool {
        let unused = self.uses.compare_exchange(0, CLOSING, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if unused {
            self.stop();
        }
        unused
    }

    pub(super) fn end_use(&self) {
        *lock(&self.last_used) = Instant::now();
        self.uses.fetch_sub(1, Ordering::AcqRel);
    }

    /// How long nothing has used it; zero while a call is under way.
    pub(super) fn idle_for(&self) -> Duration {
        if self.in_flight() > 0 {
            return Duration::ZERO;
        }
        lock(&self.last_used).elapsed()
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

/// How a child ended by itself.
fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "it closed its pipes".to_owned(), in_words)
}

/// A child's description and tools.
pub(super) async fn list(
    server: &str,
    peer: &Peer<RoleClient>,
    settings: &ChildSettings,
) -> Result<Listing, Failure> {
    let info = peer.peer_info();
    let offers_tools = info.as_ref().is_none_or(|info| info.capabilities.tools.is_some());
    let limit = settings.timeouts.list;
    let (tools, warnings) = if offers_tools {
        match timeout(limit, list_tools(peer, settings.limits)).await {
            Ok(listed) => listed.map_err(Failure::List)?,
            Err(_) => return Err(Failure::Timeout("tools/list", limit)),
        }
    } else {
        (Vec::new(), Vec::new())
    };
    for warning in &warnings {
        tracing::warn!(server, "{warning}");
    }
    let info = info.map(|info| server_info(&info)).unwrap_or_default();
    Ok(Listing { server: server.to_owned(), info, tools, warnings })
}

fn server_info(info: &ServerPeerInfo) -> ServerInfo {
    let program = info.server_info.as_ref();
    ServerInfo {
        name: program.map(|program| program.name.clone()).unwrap_or_default(),
        title: program.and_then(|program| program.title.clone()),
        version: program.map(|program| program.version.clone()).unwrap_or_default(),
        instructions: info.instructions.clone(),
        protocol: info.protocol_version.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
