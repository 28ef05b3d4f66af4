//! From a task to an answer: route, decide, check the arguments, call, and say what is missing
//! where something is. Also the exact call of a tool by its name. Every decision and every call is
//! written to the audit trail before its answer is given.

mod arguments;
mod decide;
mod outcome;
mod resolve;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rmcp::model::JsonObject;
use serde_json::json;
use tokio::{sync::OnceCell, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use self::{
    arguments::{Problem, parse_arguments, validate},
    decide::{Decision, decide},
    outcome::{CandidateView, Outcome, Routing, Timings, ToolView},
    resolve::{ResolveError, Target, resolve},
};
use crate::{
    audit::{Audit, AuditCandidate, Entry, Kind, new_request_id},
    catalog::{StoreError, Tool},
    child::{CallError, Listing, Pool, ServerState},
    config::ExecuteSettings,
    index::Library,
    report,
    router::{Candidate, Mode, Route, Router, Scope, ms},
};

/// Candidates that are looked at for one task.
const CANDIDATES: usize = 10;
/// Candidates shown where none fits.
const NEAREST: usize = 3;

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
    servers: Arc<[String]>,
    met: Arc<OnceCell<()>>,
}

impl Executor {
    /// An executor over all of these; `servers` are the names in the configuration.
    pub fn new(
        router: Router,
        library: Library,
        pool: Pool,
        audit: Audit,
        settings: ExecuteSettings,
        servers: impl IntoIterator<Item = String>,
    ) -> Self {
        let servers = servers.into_iter().collect();
        Self { router, library, pool, audit, settings, servers, met: Arc::default() }
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

    /// Lists servers that were never listed, so that a first task finds their tools. Waits for them
    /// for a while; what takes longer is found later.
    pub async fn meet_new_servers(&self) {
        let meeting = self.met.get_or_init(|| async {
            let mut tasks = JoinSet::new();
            for server in self.unlisted() {
                let (pool, library) = (self.pool.clone(), self.library.clone());
                tasks.spawn(async move {
                    // Why a server cannot be listed is logged, and shown by its state.
                    if let Ok(connection) = pool.acquire(&server).await {
                        library.apply(Listing::clone(&connection.listing()), false, None).await.ok();
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
        resolve(&self.library.snapshot(), &self.servers, name)
    }

    /// Does a task, or says what is missing for it.
    pub async fn execute(&self, task: &Task, cancel: &CancellationToken) -> Outcome {
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
        let decision = decide(&route.candidates, &task.text, task.arguments.as_ref(), &self.settings);
        self.record_route(&request_id, task, &route, &decision).await;

        let timings = Timings { route: Some(route.timings), ..Timings::default() };
        let routing = |candidate: &Candidate| Routing {
            request_id: request_id.clone(),
            server: candidate.tool.server.clone(),
            tool: candidate.tool.name().to_owned(),
            confidence: Some(candidate.confidence),
            timings,
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
            Decision::NeedsArguments { choice, understood, problems } => {
                let candidate = &route.candidates[choice];
                Outcome::NeedsArguments {
                    routing: routing(candidate),
                    tool: candidate.tool.clone(),
                    understood,
                    problems,
                }
            }
            Decision::NeedsConfirmation { choice, arguments } => {
                let candidate = &route.candidates[choice];
                Outcome::NeedsConfirmation {
                    routing: routing(candidate),
                    tool: candidate.tool.clone(),
                    arguments,
                }
            }
            Decision::Call { choice, arguments } => {
                let candidate = &route.candidates[choice];
                let routing = routing(candidate);
                if task.dry_run {
                    return Outcome::DryRun { routing, tool: candidate.tool.clone(), arguments };
                }
                self.send(routing, arguments, Some(task.text.clone()), cancel).await
            }
        }
    }

    /// Calls a tool by name, after checking the arguments against its schema.
    pub async fn call(&self, name: &str, arguments: JsonObject, cancel: &CancellationToken) -> Outcome {
        let request_id = new_request_id();
        let (server, tool, known) = match self.resolve(name) {
            Ok(Target::Known(tool)) => (tool.server.clone(), tool.name().to_owned(), Some(*tool)),
            Ok(Target::Unseen { server, tool }) => match self.look_at(&server, &tool, cancel).await {
                Ok(found) => (server, tool, Some(found)),
                Err(reason) => {
                    return self.refuse(request_id, Kind::Call, None, Some((server, tool)), reason).await;
                }
            },
            Err(error) => return self.refuse(request_id, Kind::Call, None, None, error.to_string()).await,
        };
        let routing = Routing { request_id, server, tool, confidence: None, timings: Timings::default() };
        if let Some(tool) = known {
            let problems = validate(tool.input_schema(), &arguments);
            if !problems.is_empty() {
                self.record_call(
                    &routing,
                    None,
                    0,
                    "needs_arguments",
                    Some(format!("arguments do not fit: {}", arguments::fields(&problems))),
                )
                .await;
                return Outcome::NeedsArguments { routing, tool, understood: arguments, problems };
            }
        }
        self.send(routing, arguments, None, cancel).await
    }

    /// Looks at the live list of a server for a tool that the catalog does not have.
    async fn look_at(&self, server: &str, tool: &str, cancel: &CancellationToken) -> Result<Tool, String> {
        let connection = tokio::select! {
            connection = self.pool.acquire(server) => connection.map_err(|error| report::chain(&*error))?,
            () = cancel.cancelled() => return Err("cancelled while the server was starting".to_owned()),
        };
        let listing = connection.listing();
        let found = listing.tools.iter().find(|definition| definition.name == tool);
        found.map(|definition| Tool::new(server, definition.clone())).ok_or_else(|| {
            let names: Vec<&str> = listing.tools.iter().map(|definition| definition.name.as_ref()).collect();
            resolve::unknown_tool(server, tool, &names).to_string()
        })
    }

    /// Sends a call that is decided and checked.
    async fn send(
        &self,
        mut routing: Routing,
        arguments: JsonObject,
        task: Option<String>,
        cancel: &CancellationToken,
    ) -> Outcome {
        let started = Instant::now();
        let connection = tokio::select! {
            connection = self.pool.acquire(&routing.server) => connection.map_err(CallError::Connect),
            () = cancel.cancelled() => {
                Err(CallError::Cancelled { server: routing.server.clone(), tool: routing.tool.clone() })
            }
        };
        routing.timings.start_ms = Some(ms(started.elapsed()));
        let sent = Instant::now();
        let attempts = u32::from(connection.is_ok());
        let outcome = match connection {
            Ok(connection) => connection.call(&routing.tool, Some(arguments), cancel).await,
            Err(error) => Err(error),
        };
        routing.timings.call_ms = Some(ms(sent.elapsed()));
        match outcome {
            Ok(result) => {
                let status = if result.is_error == Some(true) { "tool_error" } else { "done" };
                self.record_call(&routing, task, attempts, status, None).await;
                Outcome::Done { routing, result: Box::new(result) }
            }
            Err(error) => {
                let reason = report::chain(&error);
                // What a child says of a refusal may quote arguments.
                let kept = match &error {
                    CallError::Rejected { code, .. } => format!("the server rejected the call (code {code})"),
                    _ => reason.clone(),
                };
                self.record_call(&routing, task, attempts, "failed", Some(kept)).await;
                Outcome::Failed {
                    request_id: routing.request_id.clone(),
                    routing: Some(routing),
                    attempts,
                    reason,
                }
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
        reason: String,
    ) -> Outcome {
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
                error: Some(reason.clone()),
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

    async fn record_call(
        &self,
        routing: &Routing,
        task: Option<String>,
        attempts: u32,
        outcome: &str,
        error: Option<String>,
    ) {
        self.audit
            .record(Entry {
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
            })
            .await;
    }
}

fn views<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Vec<CandidateView> {
    candidates.map(CandidateView::from).collect()
}
