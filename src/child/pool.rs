//! The pool: one supervised server for each entry of the configuration, shared by all callers. A call
//! passes the gates, the circuit breaker and the connection here, and is sent again where that is
//! safe.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Answer, CallError, CallRequest, Caller, ConnectError, Lease, Lifecycle, Listing,
    breaker::{Breaker, Permit, Verdict},
    gate::{Full, Gate},
    nearest,
    relay::Hosts,
    retry::{RetryBudget, may_repeat},
    status::{ServerStatus, status_of},
    supervisor::{Phase, Supervisor, Surroundings},
};
use crate::config::{ServerConfig, TotalLimits};

/// What the pool needs to know besides the servers.
#[derive(Debug, Clone, Default)]
pub struct PoolOptions {
    /// Bounds for calls to all servers together.
    pub total_limits: TotalLimits,
    /// The orchestrator's executable, to run as guard of each child on Linux. Without it children
    /// lead a plain process group, which does not survive-proof a SIGKILL of the orchestrator.
    pub guard: Option<PathBuf>,
    /// Protocol versions that servers agreed on before, by their names.
    pub protocols: HashMap<String, String>,
}

/// All connections. Clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    members: BTreeMap<String, Member>,
    gate: Gate,
    surroundings: Surroundings,
    ending_limit: Duration,
}

/// A server with what decides about calls to it.
pub(super) struct Member {
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) gate: Gate,
    breaker: Mutex<Breaker>,
    budget: Mutex<RetryBudget>,
    /// The failed start that was counted last: it is one failure, however many waited for it.
    counted: Mutex<Option<Arc<ConnectError>>>,
}

impl Member {
    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a failed start says of the server's health, to the first who asks.
    fn verdict_on_start(&self, error: &Arc<ConnectError>) -> Verdict {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counted.as_ref().is_some_and(|counted| Arc::ptr_eq(counted, error));
        if known || !error.is_fault() {
            return Verdict::Neutral;
        }
        *counted = Some(Arc::clone(error));
        Verdict::Failure
    }

    fn budget(&self) -> MutexGuard<'_, RetryBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that the breaker let through. Its end is told even when its future is dropped.
struct Admission<'a> {
    member: &'a Member,
    permit: Permit,
    verdict: Verdict,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.member.breaker().record(self.permit, self.verdict, Instant::now());
    }
}

/// What became of a call, retries included.
#[derive(Debug)]
pub struct CallReport {
    /// Times that it was sent.
    pub attempts: u32,
    /// Waiting for a turn and for a connection, the child's start included.
    pub waited: Duration,
    /// The last try.
    pub took: Duration,
    /// How it ended.
    pub outcome: Result<Answer, CallError>,
}

#[derive(Default)]
struct Times {
    waited: Duration,
    took: Duration,
}

impl Pool {
    /// A pool over `servers`; starts none. Each tool list that a child gives, at its start and
    /// after each change, goes to `listings`.
    pub fn new(
        servers: &BTreeMap<String, ServerConfig>,
        options: &PoolOptions,
        listings: &mpsc::Sender<Listing>,
    ) -> Self {
        let surroundings = Surroundings {
            guard: options.guard.clone(),
            hosts: Hosts::default(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let member = |server: &String, config: &ServerConfig| {
            let protocol = options.protocols.get(server);
            let lifecycle = protocol.and_then(|version| Lifecycle::of_protocol(version));
            let settings = config.settings;
            Member {
                supervisor: Supervisor::start(
                    server,
                    config,
                    lifecycle,
                    listings.clone(),
                    surroundings.clone(),
                ),
                gate: Gate::new(settings.limits.concurrent_calls, settings.limits.queued_calls),
                breaker: Mutex::new(Breaker::new(settings.breaker, Instant::now())),
                budget: Mutex::new(RetryBudget::new(&settings.retry)),
                counted: Mutex::default(),
            }
        };
        let members =
            servers.iter().map(|(server, config)| (server.clone(), member(server, config))).collect();
        let total = options.total_limits;
        // EOF, SIGTERM and SIGKILL each take `shutdown` at most, and some time for the last reaping.
        let longest = servers.values().map(|config| config.settings.timeouts.shutdown).max();
        let shared = Shared {
            members,
            gate: Gate::new(total.concurrent_calls, total.queued_calls),
            surroundings,
            ending_limit: longest.unwrap_or_default() * 3 + Duration::from_secs(5),
        };
        Self { shared: Arc::new(shared) }
    }

    fn member(&self, server: &str) -> Result<&Member, Arc<ConnectError>> {
        self.shared.members.get(server).ok_or_else(|| {
            let names = self.shared.members.keys().map(String::as_str);
            let suggestion = nearest(server, names).map(str::to_owned);
            Arc::new(ConnectError::Unknown { server: server.to_owned(), suggestion })
        })
    }

    /// A connection to `server`, started if need be. Concurrent first calls start one process.
    pub async fn acquire(&self, server: &str) -> Result<Lease, Arc<ConnectError>> {
        self.member(server)?.supervisor.acquire().await
    }

    /// Calls a tool: waits for its turn, starts the child where it does not run, and sends a lost call
    /// again where that is safe.
    pub async fn call(&self, server: &str, request: &CallRequest, caller: &Caller) -> CallReport {
        let (mut attempts, mut times) = (0, Times::default());
        let outcome = self.call_within(server, request, caller, &mut attempts, &mut times).await;
        CallReport { attempts, waited: times.waited, took: times.took, outcome }
    }

    async fn call_within(
        &self,
        server: &str,
        request: &CallRequest,
        caller: &Caller,
        attempts: &mut u32,
        times: &mut Times,
    ) -> Result<Answer, CallError> {
        let started = Instant::now();
        let member = self.member(server)?;
        let cancelled = || CallError::Cancelled { server: server.to_owned(), tool: request.tool.clone() };
        let _places = tokio::select! {
            places = self.enter(server, member) => places?,
            () = caller.cancel.cancelled() => return Err(cancelled()),
        };
        let retry = member.supervisor.config().settings.retry;
        member.budget().call();
        let mut lost = None;
        loop {
            let admitted = match given_up(member) {
                Some(error) => Err(CallError::Connect(error)),
                None => admit(server, member),
            };
            let mut admission = match (admitted, lost.take()) {
                (Ok(admission), _) => admission,
                // What became of the first try says more than why there is no second.
                (Err(_), Some(lost)) => return Err(lost),
                (Err(error), None) => return Err(error),
            };
            let connection = tokio::select! {
                connection = member.supervisor.acquire() => connection,
                () = caller.cancel.cancelled() => return Err(cancelled()),
            };
            times.waited = started.elapsed().saturating_sub(times.took);
            let sent_at = Instant::now();
            let outcome = match connection {
                Ok(connection) => {
                    *attempts += 1;
                    let outcome = connection.call(request, caller).await;
                    let crashed = matches!(outcome, Err(CallError::Closed { .. }));
                    admission.verdict = if crashed && !connection.take_blame() {
                        Verdict::Neutral
                    } else {
                        verdict(&outcome)
                    };
                    outcome
                }
                Err(error) => {
                    admission.verdict = member.verdict_on_start(&error);
                    Err(CallError::Connect(error))
                }
            };
            times.took = sent_at.elapsed();
            drop(admission);
            match outcome {
                Err(error)
                    if *attempts < retry.attempts
                        && may_repeat(&error, request.repeatable)
                        && member.budget().take() =>
                {
                    tracing::info!(server, tool = request.tool, "calling again: {error}");
                    lost = Some(error);
                }
                outcome => return outcome,
            }
        }
    }

    /// A place among all calls and among those of the server.
    async fn enter(
        &self,
        server: &str,
        member: &Member,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), CallError> {
        let limit = member.supervisor.config().settings.timeouts.call_total;
        let busy = |full: Full| CallError::Busy {
            server: server.to_owned(),
            running: full.running,
            queued: full.queued,
        };
        // The server's own first: a call that waits for a slow server takes no place from others.
        let waiting = async {
            let own = member.gate.enter().await.map_err(busy)?;
            let all = self.shared.gate.enter().await.map_err(busy)?;
            Ok((own, all))
        };
        timeout(limit, waiting).await.unwrap_or_else(|_| Err(busy(member.gate.full())))
    }

    /// The hosts on whose behalf children work.
    pub fn hosts(&self) -> &Hosts {
        &self.shared.surroundings.hosts
    }

    /// Ends the connection to a server if nothing uses it.
    pub fn close(&self, server: &str) {
        if let Some(member) = self.shared.members.get(server) {
            member.supervisor.close();
        }
    }

    /// Forgets a server's failures and starts it afresh, now if somebody waits, else with the next call.
    pub async fn restart(&self, server: &str) -> Result<(), Arc<ConnectError>> {
        let member = self.member(server)?;
        let restarted = member.supervisor.restart().await;
        // After it: calls that the end of the old child cost are counted by then.
        member.breaker().close(Instant::now());
        restarted
    }

    /// Why a server takes no calls for now; none where it does.
    pub fn ejected(&self, server: &str) -> Option<CallError> {
        let member = self.shared.members.get(server)?;
        if let Some(error) = given_up(member) {
            return Some(CallError::Connect(error));
        }
        let wait = member.breaker().refuses(Instant::now())?;
        Some(open(server, wait))
    }

    /// Where every server stands, by name.
    pub fn status(&self) -> Vec<ServerStatus> {
        self.shared.members.iter().map(|(server, member)| status_of(server, member)).collect()
    }

    /// Ends every child and waits until all are gone, at the latest when SIGKILL has done it.
    pub async fn shutdown(&self) {
        let shared = &self.shared;
        shared.surroundings.closing.cancel();
        shared.surroundings.tasks.close();
        if timeout(shared.ending_limit, shared.surroundings.tasks.wait()).await.is_err() {
            tracing::error!("some children were still not gone after {} s", shared.ending_limit.as_secs());
        }
    }
}

/// Why a server is not started any more, where that is so.
fn given_up(member: &Member) -> Option<Arc<ConnectError>> {
    match member.supervisor.state().phase {
        Phase::Failed { error, given_up: true } => Some(error),
        _ => None,
    }
}

fn admit<'a>(server: &str, member: &'a Member) -> Result<Admission<'a>, CallError> {
    let permit = member.breaker().admit(Instant::now()).map_err(|wait| open(server, wait))?;
    Ok(Admission { member, permit, verdict: Verdict::Neutral })
}

fn open(server: &str, wait: Duration) -> CallError {
    CallError::Open { server: server.to_owned(), wait }
}

/// What the end of a call says of the server's health.
fn verdict(outcome: &Result<Answer, CallError>) -> Verdict {
    /// JSON-RPC: the server itself failed.
    const INTERNAL_ERROR: i32 = -32603;
    match outcome {
        Ok(_) => Verdict::Success,
        Err(CallError::Rejected { code, .. }) if *code != INTERNAL_ERROR => Verdict::Success,
        Err(
            CallError::Rejected { .. }
            | CallError::Timeout { .. }
            | CallError::Closed { sent: true, .. }
            | CallError::InvalidAnswer { .. },
        ) => Verdict::Failure,
        Err(_) => Verdict::Neutral,
    }
}
