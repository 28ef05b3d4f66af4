//! One MCP session with one child, from the start of its process to its end. Every wait has a
//! deadline, and the task that owns the session ends the process when the session ends, for whatever
//! reason.

use std::{
    process::ExitStatus,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use rmcp::{
    Peer, RoleClient,
    model::{
        CancelledNotificationParam, ClientRequest, DiscoverRequest, DiscoverRequestParams, PingRequest,
        RequestId, ServerPeerInfo, SubscriptionFilter,
    },
    service::{RunningService, serve_directly},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ConnectError, Lifecycle, Listing, Noise,
    handshake::{HandshakeError, shake_hands},
    listing::{ListError, list_tools},
    process::Process,
    relay::{Callers, ChildClient, Hosts, relay_logs},
    stderr::StderrTail,
    transport::{ChildTransport, Wire},
};
use crate::config::{ChildSettings, Limits, StdioConfig, Timeouts};

/// A burst of `tools/list_changed` is answered by one listing, this long after its first; and there
/// is at most one listing in that time.
const CHANGE_PAUSE: Duration = Duration::from_millis(200);
/// For the rest of what an ended child said.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// For an ended child's exit code to be there, once its pipes are closed.
const EXIT_CODE_WAIT: Duration = Duration::from_millis(500);
/// For telling a child that a call is cancelled.
const NOTICE_LIMIT: Duration = Duration::from_secs(1);
/// Calls that time out in a row, with no answer in between, after which a child is taken for dead.
const TIMEOUTS_IN_A_ROW: u32 = 3;
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
    uses: AtomicUsize,
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
        let (process, stdout, stdin) = Process::spawn(server, config, opening.guard, timeouts.shutdown)
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
            let limit = start_limit(&config.command, &timeouts);
            let shaking = shake_hands(&mut transport, &wire, &client, lifecycle, timeouts.discover);
            let info = match timeout(limit, shaking).await {
                Ok(shaken) => shaken.map_err(Failure::Handshake)?,
                Err(_) => return Err(Failure::Timeout("initialize", limit)),
            };
            let running = serve_directly(client, transport, Some(info));
            let listing = list(server, running.peer(), &settings).await?;
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
                    stderr: process.stderr(),
                    settings,
                    wire,
                    callers,
                    uses: AtomicUsize::new(0),
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
            self.notices.close();
            timeout(NOTICE_LIMIT, self.notices.wait()).await.ok();
            session.cancel();
            // Closes the child's stdin. Bounded: a child that reads nothing may block it.
            timeout(shutdown, &mut waiting).await.ok();
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

    /// Lists the tools anew whenever the child says that they changed. Never returns.
    async fn follow_changes(&self, listings: &mpsc::Sender<Listing>) {
        // A child of the 2026-07-28 protocol tells only those who listen. What it tells is seen by the
        // transport; the subscription only has to live.
        let _subscription = self.listen_for_changes().await;
        loop {
            self.wire.tools_changed.notified().await;
            tokio::time::sleep(CHANGE_PAUSE).await;
            match list(&self.server, &self.peer, &self.settings).await {
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

    async fn listen_for_changes(&self) -> Option<rmcp::service::Subscription> {
        let info = self.peer.peer_info()?;
        let tells = info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true));
        if info.protocol_version.has_initialize() || !tells {
            return None;
        }
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let listening = timeout(self.timeouts().list, self.peer.listen(filter)).await;
        match listening {
            Ok(Ok(subscription)) => Some(subscription),
            failed => {
                tracing::debug!(server = self.server, "it does not tell of changes: {:?}", failed.err());
                None
            }
        }
    }

    /// Pings a child that was silent for long, or that let a call time out. Returns when it is dead.
    async fn watch_health(&self) {
        let timeouts = self.timeouts();
        loop {
            let silent = self.wire.heard().elapsed();
            let pause = timeouts.ping_every.saturating_sub(silent).max(Duration::from_millis(10));
            tokio::select! {
                () = self.doubt.notified() => {
                    if self.timeouts_in_a_row.load(Ordering::Acquire) >= TIMEOUTS_IN_A_ROW {
                        self.end.get_or_init(|| format!("{TIMEOUTS_IN_A_ROW} calls in a row had no answer"));
                        return;
                    }
                }
                () = tokio::time::sleep(pause) => {
                    // Many servers do one thing at a time: while a call runs, its deadline counts.
                    if self.in_flight() > 0 || self.wire.heard().elapsed() < timeouts.ping_every {
                        if self.in_flight() > 0 {
                            tokio::time::sleep(Duration::from_secs(1).min(timeouts.ping_every)).await;
                        }
                        continue;
                    }
                }
            }
            let asked = std::time::Instant::now();
            let answer = timeout(timeouts.ping, self.peer.send_request(self.ping())).await;
            // Whatever it says, an error too, somebody is there.
            if answer.is_err() && self.wire.heard() < asked {
                let seconds = timeouts.ping.as_secs_f32();
                self.end.get_or_init(|| format!("it answered no ping within {seconds} s"));
                return;
            }
        }
    }

    /// A request that any server answers. The 2026-07-28 protocol has no ping.
    fn ping(&self) -> ClientRequest {
        let modern = self.peer.peer_info().is_some_and(|info| !info.protocol_version.has_initialize());
        if modern {
            ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
        } else {
            ClientRequest::PingRequest(PingRequest::default())
        }
    }

    /// A call brought no answer in time.
    pub(super) fn note_timeout(&self) {
        self.timeouts_in_a_row.fetch_add(1, Ordering::AcqRel);
        self.doubt.notify_one();
    }

    /// A call was answered.
    pub(super) fn note_answer(&self) {
        self.timeouts_in_a_row.store(0, Ordering::Release);
        self.was_useful.store(true, Ordering::Release);
    }

    /// Whether its end is to be counted as a failure: once, however many calls were under way.
    pub(super) fn take_blame(&self) -> bool {
        !self.blamed.swap(true, Ordering::AcqRel)
    }

    /// Whether any call was ever answered.
    pub(super) fn was_useful(&self) -> bool {
        self.was_useful.load(Ordering::Acquire)
    }

    /// Tells the child that nobody waits for an answer any more, without waiting for it to be told. A
    /// child that does not even take this in is of no use to anybody: it is ended like one that crashed.
    pub(super) fn tell_cancelled(&self, request: RequestId, reason: &str) {
        let (peer, stop, end) = (self.peer.clone(), self.stop.clone(), Arc::clone(&self.end));
        let notice = CancelledNotificationParam::new(Some(request), Some(reason.to_owned()));
        self.notices.spawn(async move {
            if timeout(NOTICE_LIMIT, peer.notify_cancelled(notice)).await.is_err() {
                end.get_or_init(|| "it reads nothing any more".to_owned());
                stop.cancel();
            }
        });
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
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.uses.fetch_sub(1, Ordering::AcqRel);
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
    Handshake(HandshakeError),
    List(ListError),
    Timeout(&'static str, Duration),
    ShuttingDown,
}

/// The same with its reason for people.
pub(super) struct Failed {
    pub(super) error: ConnectError,
    /// Whether the child ended when all it had seen was `server/discover`.
    probed: bool,
    /// Ends the process, where that is still to be done: the server is not started again before.
    pub(super) ending: Option<JoinHandle<()>>,
}

impl Failure {
    /// Turns what is known into an error for people, and sees to it that the process ends.
    async fn into_error(
        self,
        server: &str,
        process: Process,
        grace: Duration,
        tasks: &TaskTracker,
    ) -> Failed {
        let tail = process.stderr();
        let probed = matches!(self, Self::Handshake(HandshakeError::Closed { probed: true }));
        let closed = match &self {
            Self::Handshake(HandshakeError::Closed { .. }) => Some("during the handshake"),
            Self::List(ListError::Closed) => Some("while listing its tools"),
            _ => None,
        };
        let server = server.to_owned();
        if let Some(when) = closed {
            // Its exit code tells more than anything else.
            let status = process.stop(EXIT_CODE_WAIT.max(grace)).await;
            let status = status.map_or_else(|| "no exit code".to_owned(), in_words);
            let error = ConnectError::Exited { server, when, status, stderr: tail.text() };
            return Failed { error, probed, ending: None };
        }
        let ending = Some(tasks.spawn(async move {
            process.stop(grace).await;
        }));
        let stderr = tail.text();
        let error = match self {
            Self::Handshake(HandshakeError::Refused(message)) => {
                ConnectError::Refused { server, what: "initialize", message, stderr }
            }
            Self::List(ListError::Refused(message)) => {
                ConnectError::Refused { server, what: "tools/list", message, stderr }
            }
            Self::Timeout(what, limit) => ConnectError::Timeout { server, what, limit, stderr },
            _ => ConnectError::ShuttingDown,
        };
        Failed { error, probed, ending }
    }
}

/// How a child ended by itself.
fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(|| "it closed its pipes".to_owned(), in_words)
}

/// `exit status: 3`, or the signal, which the guard tells as 128 + its number like a shell.
fn in_words(status: ExitStatus) -> String {
    match status.code() {
        Some(code) if code > 128 && cfg!(unix) => format!("killed by signal {}", code - 128),
        _ => status.to_string(),
    }
}

async fn list(server: &str, peer: &Peer<RoleClient>, settings: &ChildSettings) -> Result<Listing, Failure> {
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
