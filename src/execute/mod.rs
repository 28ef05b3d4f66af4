//! From a task to an answer: route, decide, check the arguments, call, and say what is missing
//! where something is. Also the exact call of a tool by its name. Every decision and every call is
//! written to the audit trail before its answer is given.

pub mod administration;
mod arguments;
mod ask;
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

use rmcp::model::{InputResponses, JsonObject};
use serde_json::json;
use tokio::{
    sync::{OnceCell, Semaphore},
    task::JoinSet,
};

pub use self::{
    arguments::{Problem, parse_arguments, validate},
    ask::{Asked, answered_text, ask_host},
    decide::{Decision, Request, decide},
    infer::{Filled, Origin, SpanKind, fill},
    outcome::{CandidateView, Inferred, Outcome, Pending, Routing, Timings, ToolView},
    resolve::{ResolveError, Target, resolve},
};
use self::{ask::Draft, recent::Recent};
use crate::{
    audit::{Audit, AuditCandidate, Entry, Kind, new_request_id},
    catalog::{StoreError, Tool},
    child::{Answer, CallError, CallRequest, Caller, Listing, Pool, ServerState},
    config::{ExecuteSettings, Settings},
    examples::{NewExample, Source, mask},
    index::Library,
    report,
    router::{Candidate, Mode, Route, Router, Scope, ms},
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
        let (route, ejected) = self.set_ejected_aside(route);
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
                degraded,
            },
            Decision::Ambiguous(places) => Outcome::Ambiguous {
                request_id,
                timings,
                candidates: views(places.iter().map(|place| &route.candidates[*place])),
            },
            Decision::Call(request) if task.dry_run => {
                let Draft { routing, tool, arguments, .. } = draft(request);
                Outcome::DryRun { routing, tool, arguments }
            }
            Decision::NeedsConfirmation(request) if task.dry_run => {
                let Draft { routing, tool, arguments, .. } = draft(request);
                Outcome::NeedsConfirmation { routing, tool, arguments }
            }
            Decision::NeedsArguments { request, problems } if task.dry_run => {
                let Draft { routing, tool, arguments, .. } = draft(request);
                Outcome::NeedsArguments { routing, tool, understood: arguments, problems }
            }
            Decision::NeedsArguments { request, problems } => {
                self.complete_and_send(draft(request), problems, caller).await
            }
            Decision::Call(request) | Decision::NeedsConfirmation(request) => {
                self.confirm_and_send(draft(request), caller).await
            }
        }
    }

    /// Leaves out tools of servers that take no calls now, so that another server does what it can as
    /// well. Where none comes near the best of those left out, that one is returned with its reason:
    /// a worse tool is no help.
    fn set_ejected_aside(&self, mut route: Route) -> (Route, Option<(Tool, Refusal)>) {
        let is_ejected = |candidate: &Candidate| self.pool.ejected(&candidate.tool.server).is_some();
        let (out, rest): (Vec<_>, Vec<_>) = route.candidates.into_iter().partition(is_ejected);
        let next = rest.first().map_or(0.0, |candidate| candidate.confidence);
        route.candidates = rest;
        let lost = out.into_iter().next().filter(|best| {
            best.confidence >= self.settings.no_match_below
                && best.confidence > next * self.settings.ambiguous_ratio
        });
        let lost = lost.and_then(|best| {
            // It may have come back meanwhile.
            let reason = self.pool.ejected(&best.tool.server)?;
            Some((best.tool, Refusal::of(&reason)))
        });
        (route, lost)
    }

    /// Why tools of a server cannot be called now; none where they can.
    pub fn ejected(&self, server: &str) -> Option<String> {
        self.pool.ejected(server).map(|error| report::chain(&error))
    }

    /// Calls a tool by name, after checking the arguments against its schema.
    pub async fn call(&self, name: &str, arguments: JsonObject, caller: &Caller) -> Outcome {
        let request_id = new_request_id();
        if administration::is_meant(name) {
            return self.administrate(request_id, name, arguments).await;
        }
        let tool = match self.resolve(name) {
            Ok(Target::Known(tool)) => *tool,
            Ok(Target::Unseen { server, tool }) => match self.look_at(&server, &tool, caller).await {
                Ok(found) => found,
                Err(refusal) => {
                    return self.refuse(request_id, Kind::Call, None, Some((server, tool)), refusal).await;
                }
            },
            Err(error) => return self.refuse(request_id, Kind::Call, None, None, error.to_string()).await,
        };
        let task = self.chosen_for(caller, &tool);
        let routing = Routing::of(request_id, &tool);
        let arguments = request::mended(tool.input_schema(), arguments);
        match self.check(&routing, &tool, arguments).await {
            Ok(arguments) => {
                let outcome = self.send(routing, &tool, arguments, None, caller).await;
                if let Some(task) = task {
                    self.learn(&task, &outcome);
                }
                outcome
            }
            Err(outcome) => *outcome,
        }
    }

    /// Goes on with a call whose child asked for input, with the host's answers to it.
    pub async fn resume(&self, pending: Pending, input: InputResponses, caller: &Caller) -> Outcome {
        let request_id = new_request_id();
        let name = format!("{}:{}", pending.server, pending.tool);
        let tool = match self.resolve(&name) {
            Ok(Target::Known(tool)) => *tool,
            Ok(Target::Unseen { .. }) => {
                let reason = format!("{name} is not listed any more");
                return self.refuse(request_id, Kind::Call, None, None, reason).await;
            }
            Err(error) => return self.refuse(request_id, Kind::Call, None, None, error.to_string()).await,
        };
        let routing = Routing::of(request_id, &tool);
        if let Some(asked @ Asked::Arguments { task, .. }) = &pending.asked {
            let draft = Draft { routing, tool, arguments: pending.arguments, task: task.clone() };
            return self.answered(draft, asked, &input, caller).await;
        }
        // It comes from the host, so it is checked like any other.
        let arguments = match self.check(&routing, &tool, pending.arguments).await {
            Ok(arguments) => arguments,
            Err(outcome) => return *outcome,
        };
        if let Some(asked) = &pending.asked {
            let draft = Draft { routing, tool, arguments, task: String::new() };
            return self.answered(draft, asked, &input, caller).await;
        }
        let request = CallRequest {
            tool: pending.tool,
            arguments: Some(arguments),
            input: Some(input),
            state: pending.state,
            repeatable: tool.is_repeatable(),
        };
        self.send_request(routing, request, None, caller).await
    }

    /// Writes the row of a call that is about to be made. False where it must not be made without.
    async fn begin(&self, routing: &Routing, task: Option<String>) -> bool {
        let recorded = self.audit.record(call_entry(routing, task, 0, "started", None)).await;
        recorded || !self.strict_audit
    }

    async fn refuse_unrecorded(&self, routing: Routing, task: Option<String>) -> Outcome {
        let problem = self.audit.problem().unwrap_or_default();
        let reason =
            format!("no call is made while the audit trail cannot be written (audit.strict): {problem}");
        // The row that waits says so, when it is written in the end.
        self.audit
            .finish(call_entry(&routing, task, 0, "failed", Some("not recorded, so not made".to_owned())))
            .await;
        Outcome::Failed {
            request_id: routing.request_id.clone(),
            routing: Some(routing),
            attempts: 0,
            reason,
        }
    }

    async fn administrate(&self, request_id: String, name: &str, arguments: JsonObject) -> Outcome {
        let Some(tool) = administration::find(name) else {
            return self.refuse(request_id, Kind::Call, None, None, administration::unknown(name)).await;
        };
        let routing = Routing::of(request_id, &tool);
        let arguments = match self.check(&routing, &tool, arguments).await {
            Ok(arguments) => arguments,
            Err(outcome) => return *outcome,
        };
        if !self.begin(&routing, None).await {
            return self.refuse_unrecorded(routing, None).await;
        }
        if administration::is_about_tools(&tool) {
            self.meet_new_servers().await;
        }
        let result = administration::run(&tool, &arguments, &self.pool, &self.library).await;
        let status = if result.is_error == Some(true) { "tool_error" } else { "done" };
        self.audit.finish(call_entry(&routing, None, 1, status, None)).await;
        Outcome::Done { routing, result: Box::new(result) }
    }

    /// The arguments, if they fit the tool's schema.
    async fn check(
        &self,
        routing: &Routing,
        tool: &Tool,
        arguments: JsonObject,
    ) -> Result<JsonObject, Box<Outcome>> {
        let problems = validate(tool.input_schema(), &arguments);
        if problems.is_empty() {
            return Ok(arguments);
        }
        let error = format!("arguments do not fit: {}", arguments::fields(&problems));
        self.audit.record(call_entry(routing, None, 0, "needs_arguments", Some(error))).await;
        Err(Box::new(Outcome::NeedsArguments {
            routing: routing.clone(),
            tool: tool.clone(),
            understood: arguments,
            problems,
        }))
    }

    /// Looks at the live list of a server for a tool that the catalog does not have.
    async fn look_at(&self, server: &str, tool: &str, caller: &Caller) -> Result<Tool, Refusal> {
        if let Some(refusal) = self.pool.ejected(server) {
            return Err(Refusal::of(&refusal));
        }
        let connection = tokio::select! {
            connection = self.pool.acquire(server) => {
                connection.map_err(|error| Refusal::of(&CallError::Connect(error)))?
            }
            () = caller.cancel.cancelled() => {
                return Err(Refusal::plain("cancelled while the server was starting".to_owned()));
            }
        };
        let listing = connection.listing();
        let found = listing.tools.iter().find(|definition| definition.name == tool);
        found.map(|definition| Tool::new(server, definition.clone())).ok_or_else(|| {
            let names: Vec<&str> = listing.tools.iter().map(|definition| definition.name.as_ref()).collect();
            if names.is_empty() {
                return Refusal::plain(format!("server \"{server}\" lists no tools"));
            }
            Refusal::plain(resolve::unknown_tool(server, tool, &names).to_string())
        })
    }

    /// Sends a call that is decided and checked.
    async fn send(
        &self,
        routing: Routing,
        tool: &Tool,
        arguments: JsonObject,
        task: Option<String>,
        caller: &Caller,
    ) -> Outcome {
        let request = CallRequest {
            tool: tool.name().to_owned(),
            arguments: Some(arguments),
            repeatable: tool.is_repeatable(),
            ..CallRequest::default()
        };
        self.send_request(routing, request, task, caller).await
    }

    async fn send_request(
        &self,
        mut routing: Routing,
        request: CallRequest,
        task: Option<String>,
        caller: &Caller,
    ) -> Outcome {
        // Before the call leaves: what happened is known even if nobody lives to tell its end.
        if !self.begin(&routing, task.clone()).await {
            return self.refuse_unrecorded(routing, task).await;
        }
        let report = self.pool.call(&routing.server, &request, caller).await;
        routing.timings.start_ms = Some(ms(report.waited));
        routing.timings.call_ms = Some(ms(report.took));
        let attempts = report.attempts;
        match report.outcome {
            Ok(Answer::Result(result)) => {
                let status = if result.is_error == Some(true) { "tool_error" } else { "done" };
                self.audit.finish(call_entry(&routing, task, attempts, status, None)).await;
                Outcome::Done { routing, result }
            }
            Ok(Answer::InputRequired(wanted)) => {
                self.audit.finish(call_entry(&routing, task, attempts, "input_required", None)).await;
                let pending = Pending {
                    server: routing.server.clone(),
                    tool: routing.tool.clone(),
                    arguments: request.arguments.unwrap_or_default(),
                    state: wanted.request_state.clone(),
                    asked: None,
                };
                Outcome::InputRequired { routing, wanted, pending }
            }
            Err(error) => {
                let reason = report::chain(&error);
                let kept = error.for_the_trail();
                self.audit.finish(call_entry(&routing, task, attempts, "failed", Some(kept))).await;
                let reason = if attempts > 1 { format!("{reason} (tried {attempts} times)") } else { reason };
                let request_id = routing.request_id.clone();
                Outcome::Failed { request_id, routing: Some(routing), attempts, reason }
            }
        }
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
        Outcome::Failed { request_id, routing: None, attempts: 0, reason }
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

/// The row of a call.
fn call_entry(
    routing: &Routing,
    task: Option<String>,
    attempts: u32,
    outcome: &str,
    error: Option<String>,
) -> Entry {
    Entry {
        request: routing.request_id.clone(),
        kind: Kind::Call,
        task,
        candidates: Vec::new(),
        choice: Some((routing.server.clone(), routing.tool.clone())),
        confidence: routing.confidence,
        attempts,
        outcome: outcome.to_owned(),
        error,
        durations: json!({"start_ms": routing.timings.start_ms, "call_ms": routing.timings.call_ms}),
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
