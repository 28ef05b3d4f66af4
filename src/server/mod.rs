//! The MCP server that a host sees: four tools in front of all children, over any rmcp transport.
//! `initialize` and `tools/list` answer from the catalog in memory and wait for nothing.

mod answer;
mod digest;
mod tools;

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, JsonObject, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::Value;

use self::tools::{CallInput, ExecuteInput, ListInput, SearchInput};
use crate::{
    audit::Audit,
    child::Pool,
    execute::{Executor, Task, parse_arguments},
    index::Library,
    orchestrator::Orchestrator,
};

/// Tools that `search_tools` shows when the host does not say how many.
const DEFAULT_LIMIT: usize = 5;

/// Our side of a session with a host.
#[derive(Clone)]
pub struct Front {
    executor: Executor,
    library: Library,
    pool: Pool,
    audit: Audit,
    servers: std::sync::Arc<[String]>,
}

impl Front {
    /// A front for one orchestrator; sessions share it.
    pub fn new(orchestrator: &Orchestrator) -> Self {
        let enabled = orchestrator.config.servers.iter().filter(|(_, server)| !server.disabled);
        Self {
            executor: orchestrator.executor.clone(),
            library: orchestrator.library.clone(),
            pool: orchestrator.pool.clone(),
            audit: orchestrator.audit.clone(),
            servers: enabled.map(|(name, _)| name.clone()).collect(),
        }
    }

    async fn execute(
        &self,
        input: ExecuteInput,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, String> {
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
        self.executor.meet_new_servers().await;
        Ok(answer::outcome(self.executor.execute(&task, &context.ct).await))
    }

    async fn call(
        &self,
        input: CallInput,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, String> {
        let arguments = parse_arguments(input.arguments.unwrap_or_default())?;
        Ok(answer::outcome(self.executor.call(&input.tool, arguments, &context.ct).await))
    }

    async fn search(&self, input: SearchInput) -> Result<CallToolResult, String> {
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
        Ok(answer::ranked(&route, detail))
    }

    fn list(&self, input: &ListInput) -> CallToolResult {
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
    fn get_info(&self) -> ServerConfig {
        let own =
            Implementation::new("orchestrator", env!("CARGO_PKG_VERSION")).with_title("MCP orchestrator");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(own)
            .with_instructions(digest::instructions(&self.servers, &self.library.snapshot()))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::definitions(&self.servers)))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::definitions(&self.servers).into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments;
        let answer = match request.name.as_ref() {
            tools::EXECUTE => match read(arguments) {
                Ok(input) => self.execute(input, &context).await,
                Err(error) => Err(error),
            },
            tools::CALL_TOOL => match read(arguments) {
                Ok(input) => self.call(input, &context).await,
                Err(error) => Err(error),
            },
            tools::SEARCH_TOOLS => match read(arguments) {
                Ok(input) => self.search(input).await,
                Err(error) => Err(error),
            },
            tools::LIST_SERVERS => read(arguments).map(|input| self.list(&input)),
            // A host that calls a child's tool by its own name gets told how it is done here.
            other => {
                let message = format!(
                    "unknown tool \"{other}\"; this server has {}, and reaches all others through call_tool",
                    tools::NAMES.join(", ")
                );
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        let result = answer.unwrap_or_else(|problem| answer::bad_input(request.name.as_ref(), &problem));
        Ok(CallToolResponse::from(result))
    }
}
