//! From a task to an answer: route, decide, check the arguments, call, and say what is missing
//! where something is. Also the exact call of a tool by its name. Every decision and every call is
//! written to the audit trail before its answer is given.

pub mod administration;
mod arguments;
mod ask;
mod call;
mod decide;
mod infer;
mod outcome;
mod recent;
mod request;
mod resolve;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rmcp::model::JsonObject;
use serde_json::json;
use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinSet,
};

pub use self::{
    arguments::{Problem, parse_arguments, validate},
    ask::{Asked, answered_text, ask_host},
    decide::{Decision, Request, decide, stand_in},
    infer::{Filled, Origin, SpanKind, fill},
    outcome::{CandidateView, Inferred, Outcome, Pending, Routing, Timings, ToolView, Unreachable},
    resolve::{ResolveError, Target, resolve},
};
use self::{ask::Draft, recent::Recent};
use crate::{
    audit::{Audit, AuditCandidate, Entry, Kind, new_request_id},
    catalog::{StoreError, Tool},
    child::{CallError, Caller, Listing, Pool, ServerState},
    config::{ExecuteSettings, Settings},
    examples::{NewExample, Source, mask},
    index::Library,
    report,
    router::{Candidate, Mode, Route, Router, Scope},
};

/// Candidates that are looked at for one task.
pub const CANDIDATES: usize = 10;
/// Candidates shown where none fits.
const NEAREST: usize = 3;

/// Servers that are started at once to be listed, and how many may stay running afterwards.
const MET_AT_ONCE: usize = 4;
const KEPT_OPEN: usize = 8;

/// How long a first task waits for servers that were never listed.
const MEETING: Duration = Duration::from_secs(5);

/// A task with what the caller gave along.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// What is wanted, in plain language.
    pub text: String,
    /// Arguments of the tool, where the caller knows them.
    pub arguments: Option<JsonObject>,
    /// Look among this server's tools only.
    pub server: Option<String>,
    /// Decide, but call nothing.
    pub dry_run: bool,
}

/// Runs tasks and calls. Clones share everything.
#[derive(Clone)]
pub struct Executor {
    router: Router,
    library: Library,
    pool: Pool,
    audit: Audit,
    settings: ExecuteSettings,
    strict_audit: bool,
    servers: Arc<[String]>,
    met: Arc<OnceCell<()>>,
    /// Whether tasks become examples.
    learns: bool,
    recent: Arc<Recent>,
}

impl Executor {
    /// An executor over all of these; `servers` are the names in the configuration.
    pub fn new(
        router: Router,
        library: Library,
        pool: Pool,
        audit: Audit,
        settings: &Settings,
        servers: impl IntoIterator<Item = String>,
    ) -> Self {
        let servers = servers.into_iter().collect();
        let learns = settings.examples.from_use;
        let (strict_audit, settings) = (settings.audit.strict, settings.execute.clone());
        Self {
            router,
            library,
            pool,
            audit,
            settings,
            strict_audit,
            servers,
            met: Arc::default(),
            learns,
            recent: Arc::default(),
        }
    }

    /// Ranks tools for a text, without a decision and without a row in the trail.
    pub async fn search(
        &self,
        text: &str,
        server: Option<String>,
        limit: usize,
    ) -> Result<Route, StoreError> {
        self.router.rank(text, &Scope::server(server), limit, Mode::Hybrid).await
    }

    /// Remembers what a session was shown for a task, to learn from the call that it makes of it.
    pub fn shown(&self, caller: &Caller, task: &str, route: &Route) {
        if let (true, Some(host)) = (self.learns, &caller.host) {
            let tools = route.candidates.iter().map(|candidate| candidate.tool.id());
            self.recent.asked(host.session(), task, tools, Instant::now());
        }
    }

    /// The task for which a session calls this tool.
    fn chosen_for(&self, caller: &Caller, tool: &Tool) -> Option<String> {
        let host = caller.host.as_ref().filter(|_| self.learns)?;
        self.recent.chosen(host.session(), &tool.id(), Instant::now())
    }

    /// Makes the task for which a tool was called an example of it, behind the answer's back.
    fn learn(&self, task: &str, outcome: &Outcome) {
        let Outcome::Done { routing, result } = outcome else { return };
        if result.is_error == Some(true) {
            return;
        }
        let (server, tool) = (routing.server.clone(), routing.tool.clone());
        let example = NewExample { server, tool, text: mask(task), language: None };
        let library = self.library.clone();
        tokio::spawn(async move {
            if let Err(error) = library.teach(vec![example], Source::Use).await {
                tracing::debug!("a task was not kept as an example: {}", report::chain(&error));
            }
        });
    }

    /// Lists servers that were never listed, so that a first task finds their tools: a few at a time,
    /// and where they are many each is closed again. Waits for them for a while; what takes longer is
    /// found later.
    pub async fn meet_new_servers(&self) {
        let meeting = self.met.get_or_init(|| async {
            let unlisted = self.unlisted();
            let many = unlisted.len() > KEPT_OPEN;
            let gate = Arc::new(Semaphore::new(MET_AT_ONCE));
            let mut tasks = JoinSet::new();
            for server in unlisted {
                let (pool, library, gate) = (self.pool.clone(), self.library.clone(), Arc::clone(&gate));
                tasks.spawn(async move {
                    let Ok(_place) = gate.acquire().await else { return };
                    // Why a server cannot be listed is logged, and shown by its state.
                    if let Ok(connection) = pool.acquire(&server).await {
                        library.apply(Listing::clone(&connection.listing()), false, None).await.ok();
                    }
                    if many {
                        pool.close(&server);
                    }
                });
            }
            // A server that is slow to start goes on starting.
            tokio::time::timeout(MEETING, async { while tasks.join_next().await.is_some() {} }).await.ok();
            tasks.detach_all();
        });
        meeting.await;
    }

    /// Servers that can be started, but whose tools are not known.
    fn unlisted(&self) -> Vec<String> {
        let snapshot = self.library.snapshot();
        let unusable = [ServerState::Disabled, ServerState::Invalid];
        let usable = self.pool.status().into_iter().filter(|status| !unusable.contains(&status.state));
        let names = usable.map(|status| status.server);
        names.filter(|server| !snapshot.servers().contains_key(server)).collect()
    }

    /// The tool behind a name a model may give: `server:tool`, `server__tool`, or a bare unique one.
    pub fn resolve(&self, name: &str) -> Result<Target, ResolveError> {
        if let Some(tool) = administration::find(name) {
            return Ok(Target::Known(Box::new(tool)));
        }
        resolve(&self.library.snapshot(), &self.servers, name)
    }

    /// Does a task, or says what is missing for it.
    pub async fn execute(&self, task: &Task, caller: &Caller) -> Outcome {
        let request_id = new_request_id();
        if let Some(server) = &task.server
            && let Err(error) = resolve::known_server(&self.servers, server)
        {
            return self.refuse(request_id, Kind::Route, Some(&task.text), None, error.to_string()).await;
        }
        let scope = Scope::server(task.server.clone());
        let route = match self.router.rank(&task.text, &scope, CANDIDATES, Mode::Hybrid).await {
            Ok(route) => route,
            Err(error) => {
                return self
                    .refuse(request_id, Kind::Route, Some(&task.text), None, report::chain(&error))
                    .await;
            }
        };
        let (route, ejected, aside) = self.set_ejected_aside(route);
        if let Some((tool, mut refusal)) = ejected {
            refusal.shown = format!("{} fits best, but {}", tool.id(), refusal.shown);
            let choice = Some((tool.server.clone(), tool.name().to_owned()));
            return self.refuse(request_id, Kind::Route, Some(&task.text), choice, refusal).await;
        }
        let decision = decide(&route.candidates, &task.text, task.arguments.as_ref(), &self.settings);
        self.record_route(&request_id, task, &route, &decision).await;

        if !matches!(decision, Decision::Call { .. }) {
            self.shown(caller, &task.text, &route);
        }

        let timings = Timings { route: Some(route.timings), ..Timings::default() };
        let draft = |request: Request| {
            let candidate = &route.candidates[request.choice];
            let inferred = (!request.origins.is_empty()).then(|| Inferred {
                arguments: request.arguments.clone(),
                from: request.origins,
                by_model: false,
            });
            let routing = Routing {
                request_id: request_id.clone(),
                server: candidate.tool.server.clone(),
                tool: candidate.tool.name().to_owned(),
                confidence: Some(candidate.confidence),
                timings,
                inferred,
                instead_of: aside.clone(),
            };
            let (tool, arguments) = (candidate.tool.clone(), request.arguments);
            Draft { routing, tool, arguments, task: task.text.clone() }
        };
        let degraded = route.degraded.as_ref().map(ToString::to_string);
        match decision {
            Decision::NoMatch => Outcome::NoMatch {
                request_id,
                timings,
                unlisted: self.unlisted(),
                nearest: views(route.candidates.iter().take(NEAREST)),
                reason: route.best().and_then(|best| best.evidence.objections().reason()),
                degraded,
            },
            Decision::Ambiguous(places) => Outcome::Ambiguous {
                request_id,
                timings,
                candidates: views(places.iter().map(|place| &route.candidates[*place])),
            },
            Decision::Call(request) if task.dry_run => draft(request).dry_run(),
            Decision::NeedsConfirmation(request) if task.dry_run => draft(request).needs_confirmation(),
            Decision::NeedsArguments { request, problems } if task.dry_run => {
                draft(request).needs_arguments(problems)
            }
            Decision::NeedsArguments { request, problems } => {
                self.complete_and_send(draft(request), problems, caller).await
            }
            Decision::NeedsConfirmation(request) => self.confirm_and_send(draft(request), caller).await,
            Decision::Call(request) => {
                let outcome = self.confirm_and_send(draft(request.clone()), caller).await;
                let Outcome::Failed { never_sent: true, reason, .. } = &outcome else { return outcome };
                let Some(next) = stand_in(&route.candidates, &request, &self.settings) else {
                    return outcome;
                };
                let tool = route.candidates[request.choice].tool.id();
                let mut draft = draft(Request { choice: next, ..request });
                draft.routing.instead_of = Some(Unreachable { tool, reason: reason.clone() });
                self.confirm_and_send(draft, caller).await
            }
        }
    }

    /// Leaves out tools of servers that take no calls now, so that another server does what it can as
    /// well. Where none comes near the best of those left out, that one is returned with its reason:
    /// a worse tool is no help. At last the best one left out, where it is better than what remains.
    fn set_ejected_aside(&self, mut route: Route) -> (Route, Option<(Tool, Refusal)>, Option<Unreachable>) {
        let is_ejected = |candidate: &Candidate| self.pool.ejected(&candidate.tool.server).is_some();
        let (out, rest): (Vec<_>, Vec<_>) = route.candidates.into_iter().partition(is_ejected);
        let next = rest.first().map_or(0.0, |candidate| candidate.confidence);
        route.candidates = rest;
        let better = out
            .into_iter()
            .next()
            .filter(|best| best.confidence >= self.settings.no_match_below && best.confidence > next);
        // It may have come back meanwhile.
        let found = better.and_then(|best| Some((self.pool.ejected(&best.tool.server)?, best)));
        let Some((reason, best)) = found else { return (route, None, None) };
        let refusal = Refusal::of(&reason);
        let aside = Unreachable { tool: best.tool.id(), reason: refusal.shown.clone() };
        let is_lost = best.confidence > next * self.settings.ambiguous_ratio;
        (route, is_lost.then_some((best.tool, refusal)), Some(aside))
    }

    /// Why tools of a server cannot be called now; none where they can.
    pub fn ejected(&self, server: &str) -> Option<String> {
        self.pool.ejected(server).map(|error| report::chain(&error))
    }

    /// A failure before anything was sent.
    async fn refuse(
        &self,
        request_id: String,
        kind: Kind,
        task: Option<&str>,
        choice: Option<(String, String)>,
        refusal: impl Into<Refusal>,
    ) -> Outcome {
        let Refusal { shown: reason, kept } = refusal.into();
        self.audit
            .record(Entry {
                request: request_id.clone(),
                kind,
                task: task.map(str::to_owned),
                candidates: Vec::new(),
                choice,
                confidence: None,
                attempts: 0,
                outcome: "failed".to_owned(),
                error: Some(kept),
                durations: json!({}),
            })
            .await;
        Outcome::Failed { request_id, routing: None, attempts: 0, reason, rejected: None, never_sent: true }
    }

    async fn record_route(&self, request_id: &str, task: &Task, route: &Route, decision: &Decision) {
        let choice = decision.choice().map(|choice| &route.candidates[choice]);
        let candidates = route.candidates.iter().map(|candidate| AuditCandidate {
            server: candidate.tool.server.clone(),
            tool: candidate.tool.name().to_owned(),
            confidence: candidate.confidence,
            dense: candidate.dense,
            lexical: candidate.lexical,
        });
        self.audit
            .record(Entry {
                request: request_id.to_owned(),
                kind: Kind::Route,
                task: Some(task.text.clone()),
                candidates: candidates.collect(),
                choice: choice.map(|choice| (choice.tool.server.clone(), choice.tool.name().to_owned())),
                confidence: choice.map(|choice| choice.confidence),
                attempts: 0,
                outcome: decision.name().to_owned(),
                error: route.degraded.as_ref().map(ToString::to_string),
                durations: json!(route.timings),
            })
            .await;
    }
}

/// Why something was not done: for whoever asked, and for the trail, which keeps nothing that a server
/// wrote.
struct Refusal {
    shown: String,
    kept: String,
}

impl Refusal {
    fn plain(reason: String) -> Self {
        Self { kept: reason.clone(), shown: reason }
    }

    fn of(error: &CallError) -> Self {
        Self { shown: report::chain(error), kept: error.for_the_trail() }
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::plain(reason)
    }
}

fn views<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Vec<CandidateView> {
    candidates.map(CandidateView::from).collect()
}
