//! The MCP server that a host sees: four tools in front of all children, over any rmcp transport.
//! `initialize` and `tools/list` answer from the catalog in memory and wait for nothing.

mod answer;
mod digest;
mod host;
mod long;
mod teaching;
mod tools;
mod transport;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

#[expect(deprecated, reason = "hosts of the older protocol set a level for log messages")]
use rmcp::model::SetLevelRequestParams;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, GetPromptRequestParams, GetPromptResponse,
        Implementation, JsonObject, ListPromptsResult, ListToolsResult, PaginatedRequestParams,
        ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::transport::HostTransport;
use self::{
    host::{LogLevel, SessionHost},
    long::Rests,
    tools::{CallInput, ExecuteInput, ListInput, SearchInput},
};
use crate::{
    audit::Audit,
    child::{Caller, Connected, Host, HostProgress, Pool},
    config::{ExampleSettings, RESERVED_SERVER_NAME},
    execute::{Executor, Outcome, Pending, Task, administration, parse_arguments},
    index::Library,
    orchestrator::Orchestrator,
};

/// For answers of calls that are cancelled at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Tools that `search_tools` shows when the host does not say how many.
const DEFAULT_LIMIT: usize = 5;

/// Our side of a session with a host.
#[derive(Clone)]
pub struct Front {
    executor: Executor,
    library: Library,
    pool: Pool,
    audit: Audit,
    servers: Arc<[String]>,
    /// Names of some tools of each server, as they were at start.
    first_tools: Arc<BTreeMap<String, Vec<String>>>,
    examples: ExampleSettings,
    max_result_bytes: usize,
    session: Arc<Session>,
}

/// What belongs to one session with a host.
#[derive(Default)]
struct Session {
    /// The host, from its first call on.
    host: OnceLock<(Arc<SessionHost>, Connected)>,
    level: Arc<LogLevel>,
    /// What was cut off of long results.
    rests: Rests,
    /// Calls under way.
    calls: TaskTracker,
    /// No further call is begun.
    closing: CancellationToken,
    /// Those under way are given up.
    giving_up: CancellationToken,
}

impl Front {
    /// A front for one orchestrator; sessions share it.
    pub fn new(orchestrator: &Orchestrator) -> Self {
        let enabled = orchestrator.config.servers.iter().filter(|(_, server)| !server.disabled);
        let servers: Arc<[String]> = enabled.map(|(name, _)| name.clone()).collect();
        let listed = orchestrator.library.snapshot();
        let first_tools = listed.servers().keys().map(|server| {
            let names = orchestrator.store.first_tools(server, digest::names_of_each(servers.len()));
            (server.clone(), names.unwrap_or_default())
        });
        Self {
            first_tools: Arc::new(first_tools.collect()),
            servers,
            executor: orchestrator.executor.clone(),
            library: orchestrator.library.clone(),
            pool: orchestrator.pool.clone(),
            audit: orchestrator.audit.clone(),
            examples: orchestrator.config.settings.examples,
            max_result_bytes: orchestrator.config.settings.execute.max_result_bytes,
            session: Arc::default(),
        }
    }

    /// Begins no further call, and gives those under way until `patience` is over to end; then they
    /// are cancelled, and answered so.
    pub async fn drain(&self, patience: Duration) {
        let session = &self.session;
        session.closing.cancel();
        session.calls.close();
        if timeout(patience, session.calls.wait()).await.is_err() {
            session.giving_up.cancel();
            timeout(LAST_ANSWERS, session.calls.wait()).await.ok();
        }
    }

    fn host(&self, context: &RequestContext<RoleServer>) -> Arc<dyn Host> {
        let (host, _) = self.session.host.get_or_init(|| {
            let host = Arc::new(SessionHost::of(context, Arc::clone(&self.session.level)));
            let connected = self.pool.hosts().connect(Arc::<SessionHost>::clone(&host));
            let sampling =
                teaching::sample(Arc::<SessionHost>::clone(&host), self.library.clone(), self.examples);
            tokio::spawn(self.session.closing.clone().run_until_cancelled_owned(sampling));
            (host, connected)
        });
        Arc::<SessionHost>::clone(host)
    }

    /// Runs a call on behalf of the host. It is cancelled when the host says so or goes away, and when
    /// the orchestrator ends.
    async fn on_behalf<T>(
        &self,
        host: Arc<dyn Host>,
        context: &RequestContext<RoleServer>,
        work: impl AsyncFnOnce(Caller) -> T,
    ) -> T {
        let cancel = self.session.giving_up.child_token();
        let progress = context.meta.get_progress_token().map(|token| Arc::new(HostProgress::new(token)));
        let caller = Caller { cancel: cancel.clone(), host: Some(host), progress };
        let _under_way = self.session.calls.token();
        let working = work(caller);
        tokio::pin!(working);
        tokio::select! {
            outcome = &mut working => outcome,
            () = context.ct.cancelled() => {
                cancel.cancel();
                working.await
            }
        }
    }

    async fn execute(&self, input: ExecuteInput, caller: &Caller) -> Result<Outcome, String> {
        if input.task.trim().is_empty() {
            return Err("\"task\" is empty; say in a sentence what is wanted".to_owned());
        }
        let arguments = match input.arguments {
            None | Some(Value::Null) => None,
            Some(value) => Some(parse_arguments(value)?),
        };
        let task = Task {
            text: input.task,
            arguments,
            server: input.server,
            dry_run: input.dry_run.unwrap_or_default(),
        };
        tokio::select! {
            () = self.executor.meet_new_servers() => {}
            () = caller.cancel.cancelled() => return Err("cancelled".to_owned()),
        }
        Ok(self.executor.execute(&task, caller).await)
    }

    async fn call(&self, input: CallInput, caller: &Caller) -> Result<Outcome, String> {
        let arguments = parse_arguments(input.arguments.unwrap_or_default())?;
        Ok(self.executor.call(&input.tool, arguments, caller).await)
    }

    fn read_more(&self, input: CallInput) -> Result<CallToolResponse, String> {
        let arguments = parse_arguments(input.arguments.unwrap_or_default())?;
        let cursor = arguments.get("cursor").and_then(Value::as_str).ok_or("\"cursor\" is missing")?;
        self.session.rests.read(cursor, self.max_result_bytes).map(CallToolResponse::from)
    }

    /// What a host gets for an outcome.
    fn response(&self, outcome: Outcome) -> CallToolResponse {
        let is_done = matches!(outcome, Outcome::Done { .. });
        match answer::response(outcome) {
            CallToolResponse::Complete(result) if is_done => {
                self.session.rests.shorten(result, self.max_result_bytes).into()
            }
            other => other,
        }
    }

    async fn search(&self, input: SearchInput, caller: &Caller) -> Result<CallToolResult, String> {
        if let Some(names) = input.names.filter(|names| !names.is_empty()) {
            let found = names.iter().map(|name| (name.as_str(), self.executor.resolve(name)));
            return Ok(answer::named(found, input.detail.unwrap_or_default()));
        }
        let Some(query) = input.query.filter(|query| !query.trim().is_empty()) else {
            return Err("give \"query\" (what is wanted) or \"names\" (tools to describe)".to_owned());
        };
        if let Some(server) = &input.server
            && !self.servers.contains(server)
        {
            let near = crate::child::nearest(server, self.servers.iter().map(String::as_str));
            let hint = near.map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
            return Err(format!("unknown server \"{server}\"{hint}"));
        }
        self.executor.meet_new_servers().await;
        let limit = input.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, 50);
        let detail = input.detail.unwrap_or_default();
        let route = self
            .executor
            .search(&query, input.server, limit)
            .await
            .map_err(|error| crate::report::chain(&error))?;
        self.executor.shown(caller, &query, &route);
        Ok(answer::ranked(&route, detail, &|server| self.executor.ejected(server)))
    }

    /// What is behind the orchestrator, also before its tools were read.
    fn instructions(&self) -> String {
        if !self.library.is_read() {
            return digest::instructions(&self.servers, |server, count| {
                let first = self.first_tools.get(server).map(Vec::as_slice).unwrap_or_default();
                first.iter().take(count).cloned().collect()
            });
        }
        let snapshot = self.library.snapshot();
        digest::instructions(&self.servers, |server, count| {
            snapshot.tools_of(server).take(count).map(|tool| tool.name().to_owned()).collect()
        })
    }

    fn list(&self, input: &ListInput) -> CallToolResult {
        if input.server.as_deref() == Some(RESERVED_SERVER_NAME) {
            return answer::built_in(&administration::views());
        }
        answer::servers(
            &self.pool.status(),
            &self.library.snapshot(),
            input.server.as_deref(),
            self.audit.problem(),
        )
    }
}

/// Reads a tool's input. What is wrong is told to the model, which can mend it.
fn read<T: serde::de::DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments.unwrap_or_default())).map_err(|error| error.to_string())
}

impl ServerHandler for Front {
    #[expect(deprecated, reason = "hosts of the older protocol get the log messages of children")]
    fn get_info(&self) -> ServerConfig {
        let own =
            Implementation::new("orchestrator", env!("CARGO_PKG_VERSION")).with_title("MCP orchestrator");
        ServerConfig::new(
            ServerCapabilities::builder().enable_tools().enable_prompts().enable_logging().build(),
        )
        .with_server_info(own)
        .with_instructions(self.instructions())
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::definitions(&self.servers)))
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(vec![teaching::listed()]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if request.name != teaching::TEACH {
            let message = format!("unknown prompt \"{}\"; there is {}", request.name, teaching::TEACH);
            return Err(ErrorData::invalid_params(message, None));
        }
        let arguments = request.arguments.unwrap_or_default();
        let text = |name: &str| arguments.get(name).and_then(|value| value.as_str());
        Ok(teaching::prompt_result(text("server"), text("language")).into())
    }

    #[expect(deprecated, reason = "hosts of the older protocol use it")]
    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let level = serde_json::to_value(request.level).unwrap_or_default();
        self.session.level.set(level.as_str().unwrap_or_default());
        Ok(())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::definitions(&self.servers).into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Before any child is started: it is told what this host offers.
        let host = self.host(&context);
        self.library.read().await;
        let arguments = request.arguments;
        let name = request.name.as_ref();
        if self.session.closing.is_cancelled() {
            return Ok(answer::bad_input(name, "the orchestrator is shutting down").into());
        }
        if let (tools::EXECUTE | tools::CALL_TOOL, Some(state)) = (name, &request.request_state) {
            let pending: Pending = serde_json::from_str(state).map_err(|error| {
                ErrorData::invalid_params(format!("this requestState is not ours: {error}"), None)
            })?;
            let input = request.input_responses.unwrap_or_default();
            let outcome = self
                .on_behalf(host, &context, async |caller| self.executor.resume(pending, input, &caller).await)
                .await;
            return Ok(self.response(outcome));
        }
        let answer = match name {
            tools::EXECUTE => match read(arguments) {
                Ok(input) => self
                    .on_behalf(host, &context, async |caller| self.execute(input, &caller).await)
                    .await
                    .map(|outcome| self.response(outcome)),
                Err(error) => Err(error),
            },
            tools::CALL_TOOL => match read::<CallInput>(arguments) {
                Ok(input) if administration::is_read_more(&input.tool) => self.read_more(input),
                Ok(input) => self
                    .on_behalf(host, &context, async |caller| self.call(input, &caller).await)
                    .await
                    .map(|outcome| self.response(outcome)),
                Err(error) => Err(error),
            },
            tools::SEARCH_TOOLS => match read(arguments) {
                Ok(input) => {
                    // It may wait for servers to be listed.
                    let searching = self.on_behalf(host, &context, async |caller| {
                        tokio::select! {
                            found = self.search(input, &caller) => found,
                            () = caller.cancel.cancelled() => Err("cancelled".to_owned()),
                        }
                    });
                    searching.await.map(CallToolResponse::from)
                }
                Err(error) => Err(error),
            },
            tools::LIST_SERVERS => read(arguments).map(|input| self.list(&input).into()),
            // A host that calls a child's tool by its own name gets told how it is done here.
            other => {
                let message = format!(
                    "unknown tool \"{other}\"; this server has {}, and reaches all others through call_tool",
                    tools::NAMES.join(", ")
                );
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        Ok(answer.unwrap_or_else(|problem| answer::bad_input(name, &problem).into()))
    }
}
