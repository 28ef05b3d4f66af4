//! What passes between a child and the host that called it, besides the call: progress and log
//! messages, and the child's own requests (elicitation, sampling, roots). The host is a trait, so that
//! children know nothing of who serves whom.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use rmcp::{
    RoleClient,
    model::{
        ClientCapabilities, ClientConfig, ClientResult, CustomNotification, ErrorCode, ErrorData,
        Implementation, ProgressNotification, ProgressNotificationParam, ProgressToken, ProtocolVersion,
        ServerNotification, ServerRequest,
    },
    service::{NotificationContext, RequestContext, Service},
};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Lifecycle;

/// Requests of one child that may wait for a host's answer at once.
pub(super) const REQUESTS_AT_ONCE: usize = 16;
/// For handing a notification on to a host that may not read.
const NOTICE_LIMIT: Duration = Duration::from_secs(1);

/// A future in a box, for trait objects.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The host on whose behalf a child works.
pub trait Host: Send + Sync {
    /// The same for all requests of one session, and different for another's.
    fn session(&self) -> u64;
    /// What the host can be asked for.
    fn capabilities(&self) -> ClientCapabilities;
    /// Whether it gives input by calling again, as in the 2026-07-28 protocol, rather than by
    /// answering requests.
    fn takes_input_requests(&self) -> bool;
    /// Hands on a request of a child.
    fn ask(&self, request: ServerRequest) -> Boxed<'_, Result<ClientResult, ErrorData>>;
    /// Hands on a notification.
    fn tell(&self, notification: ServerNotification) -> Boxed<'_, ()>;
}

/// On whose behalf a call is made, and until when.
#[derive(Clone, Default)]
pub struct Caller {
    /// Fires when nobody waits for the answer any more.
    pub cancel: CancellationToken,
    /// The host, where there is one: commands have none.
    pub host: Option<Arc<dyn Host>>,
    /// How the host wants to hear of progress, if it does.
    pub progress: Option<Arc<HostProgress>>,
}

/// Progress as the host sees it: under its own token, and only forwards, whatever is tried again.
pub struct HostProgress {
    token: ProgressToken,
    shown: Mutex<Option<f64>>,
}

impl HostProgress {
    /// Nothing is shown yet.
    pub fn new(token: ProgressToken) -> Self {
        Self { token, shown: Mutex::default() }
    }

    /// The notification for progress of a child; none when the host has seen as much.
    pub(super) fn advance(&self, mut progress: ProgressNotificationParam) -> Option<ServerNotification> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.is_some_and(|shown| progress.progress <= shown) {
            return None;
        }
        *shown = Some(progress.progress);
        progress.progress_token = self.token.clone();
        Some(ServerNotification::ProgressNotification(ProgressNotification::new(progress)))
    }
}

impl Caller {
    /// Somebody who can only wait and go away.
    pub fn with_cancel(cancel: CancellationToken) -> Self {
        Self { cancel, ..Self::default() }
    }
}

/// The hosts that are connected now.
#[derive(Clone, Default)]
pub struct Hosts(Arc<Mutex<BTreeMap<u64, Arc<dyn Host>>>>);

/// A host's place among those connected, until dropped.
pub struct Connected {
    hosts: Hosts,
    session: u64,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.hosts.lock().remove(&self.session);
    }
}

impl Hosts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<dyn Host>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host has connected.
    pub fn connect(&self, host: Arc<dyn Host>) -> Connected {
        let session = host.session();
        self.lock().insert(session, host);
        Connected { hosts: self.clone(), session }
    }

    /// The only host there is. With several, nobody can tell whom a child means outside of a call.
    fn only(&self) -> Option<Arc<dyn Host>> {
        let hosts = self.lock();
        let mut all = hosts.values();
        all.next().filter(|_| all.next().is_none()).cloned()
    }

    /// What a child is told that it may ask for: just what the host offers. A capability that nobody
    /// stands behind would make children ask and fail where they have another way. A host of the
    /// 2026-07-28 protocol cannot be asked by a child of an older one.
    pub(super) fn capabilities(&self, lifecycle: Lifecycle) -> ClientCapabilities {
        let host = self.only();
        let host = host.filter(|host| lifecycle == Lifecycle::Discover || !host.takes_input_requests());
        let offered = host.map(|host| host.capabilities()).unwrap_or_default();
        let mut declared = ClientCapabilities::default();
        declared.roots = offered.roots;
        declared.sampling = offered.sampling;
        declared.elicitation = offered.elicitation;
        declared
    }
}

/// The calls under way on one connection, by whom.
#[derive(Default)]
pub(super) struct Callers {
    calls: Mutex<BTreeMap<u64, Arc<dyn Host>>>,
    next: AtomicU64,
    /// Requests of the child that a host is asked now.
    asking: AtomicUsize,
}

/// A call under way, until dropped.
pub(super) struct Calling<'a> {
    callers: &'a Callers,
    call: u64,
}

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.callers.lock().remove(&self.call);
    }
}

impl Callers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<dyn Host>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, caller: &Caller) -> Calling<'_> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        if let Some(host) = &caller.host {
            self.lock().insert(call, Arc::clone(host));
        }
        Calling { callers: self, call }
    }

    /// Whether the child waits for somebody at a host, so that its own silence means nothing.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.load(Ordering::Acquire) > 0
    }

    /// The host of all calls under way. Over stdio nothing tells to which call a request of the child
    /// belongs; with calls of several hosts it could reach the wrong one, so it reaches none.
    fn host(&self) -> Result<Option<Arc<dyn Host>>, ErrorData> {
        let calls = self.lock();
        let Some(last) = calls.values().next_back() else { return Ok(None) };
        if calls.values().all(|host| host.session() == last.session()) {
            Ok(Some(Arc::clone(last)))
        } else {
            Err(refusal("several clients are calling this server; it cannot be told which of them is meant"))
        }
    }
}

/// Our side of the session, as a child sees it.
pub(super) struct ChildClient {
    pub(super) server: String,
    pub(super) hosts: Hosts,
    pub(super) callers: Arc<Callers>,
    /// For a host's answer.
    pub(super) patience: Duration,
    /// Fires when the child is gone: rmcp would have us go on asking for it.
    pub(super) gone: CancellationToken,
}

impl ChildClient {
    /// How we present ourselves to the child.
    pub(super) fn config(&self, lifecycle: Lifecycle) -> ClientConfig {
        let own = Implementation::new("orchestrator", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(self.hosts.capabilities(lifecycle), own)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn relay(
        &self,
        request: ServerRequest,
        cancel: CancellationToken,
    ) -> Result<ClientResult, ErrorData> {
        let host = match self.callers.host()? {
            Some(host) => host,
            None => self.hosts.only().ok_or_else(|| refusal("no client is connected that could answer"))?,
        };
        if host.takes_input_requests() || !offers(&host.capabilities(), &request) {
            let reason = "the client does not offer this".to_owned();
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, reason, None));
        }
        let _asking = Asking::begin(&self.callers.asking)?;
        tracing::debug!(server = self.server, "hands a request of the child on to the host");
        tokio::select! {
            answer = timeout(self.patience, host.ask(request)) => {
                answer.unwrap_or_else(|_| Err(refusal("the client did not answer in time")))
            }
            () = cancel.cancelled() => Err(refusal("cancelled")),
            () = self.gone.cancelled() => Err(refusal("the child is gone")),
        }
    }
}

/// Counts a request of a child, until dropped.
struct Asking<'a>(&'a AtomicUsize);

impl<'a> Asking<'a> {
    fn begin(count: &'a AtomicUsize) -> Result<Self, ErrorData> {
        let asking = Self(count);
        if count.fetch_add(1, Ordering::AcqRel) < REQUESTS_AT_ONCE {
            Ok(asking)
        } else {
            Err(refusal("too many requests at once"))
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a host with these capabilities answers such a request.
pub(super) fn offers(capabilities: &ClientCapabilities, request: &ServerRequest) -> bool {
    let method = match request {
        ServerRequest::ElicitRequest(_) => "elicitation/create",
        ServerRequest::CreateMessageRequest(_) => "sampling/createMessage",
        ServerRequest::ListRootsRequest(_) => "roots/list",
        // One of these in a shape that rmcp does not know; the host may.
        ServerRequest::CustomRequest(request) => request.method.as_str(),
        _ => return false,
    };
    match method {
        "elicitation/create" => capabilities.elicitation.is_some(),
        "sampling/createMessage" => capabilities.sampling.is_some(),
        "roots/list" => capabilities.roots.is_some(),
        _ => false,
    }
}

fn refusal(reason: &str) -> ErrorData {
    ErrorData::internal_error(reason.to_owned(), None)
}

impl Service<RoleClient> for ChildClient {
    async fn handle_request(
        &self,
        request: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        match request {
            ServerRequest::PingRequest(_) => Ok(ClientResult::empty(())),
            other => self.relay(other, context.ct).await,
        }
    }

    async fn handle_notification(
        &self,
        _notification: ServerNotification,
        _context: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        // Those that matter never come so far: the transport takes them.
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        self.config(Lifecycle::Discover)
    }
}

/// Hands a notification on; a host that does not read holds nobody up for long.
pub(super) async fn tell(host: &dyn Host, notification: ServerNotification) {
    timeout(NOTICE_LIMIT, host.tell(notification)).await.ok();
}

/// Hands a child's log messages on to the host, each with the server's name before its logger's.
pub(super) async fn relay_logs(server: String, hosts: Hosts, mut logs: tokio::sync::mpsc::Receiver<Value>) {
    while let Some(mut params) = logs.recv().await {
        let Some(host) = hosts.only() else { continue };
        let logger = match params.get("logger").and_then(Value::as_str) {
            Some(logger) => format!("{server}/{logger}"),
            None => server.clone(),
        };
        params["logger"] = Value::String(logger);
        let log = CustomNotification::new("notifications/message", Some(params));
        tell(&*host, ServerNotification::CustomNotification(log)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Somebody(u64);

    impl Host for Somebody {
        fn session(&self) -> u64 {
            self.0
        }

        fn capabilities(&self) -> ClientCapabilities {
            ClientCapabilities::builder().enable_elicitation().build()
        }

        fn takes_input_requests(&self) -> bool {
            false
        }

        fn ask(&self, _request: ServerRequest) -> Boxed<'_, Result<ClientResult, ErrorData>> {
            Box::pin(async { Ok(ClientResult::empty(())) })
        }

        fn tell(&self, _notification: ServerNotification) -> Boxed<'_, ()> {
            Box::pin(async {})
        }
    }

    fn caller(session: u64) -> Caller {
        Caller { host: Some(Arc::new(Somebody(session))), ..Caller::default() }
    }

    #[test]
    fn a_request_reaches_the_caller_or_nobody() {
        let callers = Callers::default();
        assert!(callers.host().unwrap().is_none());
        let first = callers.enter(&caller(1));
        let second = callers.enter(&caller(1));
        assert_eq!(callers.host().unwrap().unwrap().session(), 1);
        let other = callers.enter(&caller(2));
        assert!(callers.host().is_err(), "two sessions call");
        drop((first, second));
        assert_eq!(callers.host().unwrap().unwrap().session(), 2);
        drop(other);
        assert!(callers.host().unwrap().is_none());
    }

    #[test]
    fn children_are_told_what_the_only_host_offers() {
        let hosts = Hosts::default();
        assert!(hosts.capabilities(Lifecycle::Initialize).elicitation.is_none());
        let one = hosts.connect(Arc::new(Somebody(1)));
        assert!(hosts.capabilities(Lifecycle::Initialize).elicitation.is_some());
        let two = hosts.connect(Arc::new(Somebody(2)));
        assert!(
            hosts.capabilities(Lifecycle::Initialize).elicitation.is_none(),
            "with two nobody could say whose"
        );
        drop(one);
        assert!(hosts.capabilities(Lifecycle::Initialize).elicitation.is_some());
        drop(two);
    }
}
