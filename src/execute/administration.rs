//! The built-in server `orchestrator`: what administration a model may do, reached through
//! `call_tool` like any other server, so that the host's list stays at four tools.

use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::{Value, json};

use super::ToolView;
use crate::{catalog::Tool, child::Pool, config::RESERVED_SERVER_NAME};

/// Starts a server afresh.
const RESTART_SERVER: &str = "restart_server";

/// The built-in tools.
pub fn tools() -> Vec<Tool> {
    let definition = json!({
        "name": RESTART_SERVER,
        "description": "Start a connected server afresh and forget its failures, for instance after it was given up and has been mended",
        "inputSchema": {
            "type": "object",
            "properties": {"server": {"type": "string", "description": "Name of the server"}},
            "required": ["server"],
            "additionalProperties": false
        },
        "annotations": {"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true}
    });
    // It is our own, and a test reads it.
    let definition = serde_json::from_value(definition).ok();
    definition.into_iter().map(|definition| Tool::new(RESERVED_SERVER_NAME, definition)).collect()
}

/// The built-in tool of this name: `orchestrator:…` or `orchestrator__…`.
pub(super) fn find(name: &str) -> Option<Tool> {
    let rest = name.trim().strip_prefix(RESERVED_SERVER_NAME)?;
    let own = rest.strip_prefix(':').or_else(|| rest.strip_prefix("__"))?;
    tools().into_iter().find(|tool| tool.name() == own)
}

/// Whether a name means the built-in server.
pub(super) fn is_meant(name: &str) -> bool {
    let rest = name.trim().strip_prefix(RESERVED_SERVER_NAME);
    rest.is_some_and(|rest| rest.starts_with(':') || rest.starts_with("__"))
}

/// What there is instead of a built-in tool that there is not.
pub(super) fn unknown(name: &str) -> String {
    let names: Vec<String> = tools().iter().map(Tool::id).collect();
    format!("unknown tool \"{}\"; the built-in server has {}", name.trim(), names.join(", "))
}

/// Runs a built-in tool. Arguments are checked.
pub(super) async fn run(tool: &Tool, arguments: &JsonObject, pool: &Pool) -> CallToolResult {
    let text = match tool.name() {
        RESTART_SERVER => {
            let server = arguments.get("server").and_then(Value::as_str).unwrap_or_default();
            restart(server, pool).await
        }
        other => Err(unknown(other)),
    };
    match text {
        Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
        Err(problem) => CallToolResult::error(vec![ContentBlock::text(problem)]),
    }
}

async fn restart(server: &str, pool: &Pool) -> Result<String, String> {
    let told = |error: std::sync::Arc<crate::child::ConnectError>| crate::report::chain(&*error);
    pool.restart(server).await.map_err(told)?;
    let connection = pool.acquire(server).await.map_err(told)?;
    Ok(format!("{server} was started afresh and lists {} tools.", connection.listing().tools.len()))
}

/// The built-in tools as answers show them.
pub fn views() -> Vec<ToolView> {
    tools().iter().map(ToolView::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::validate;

    #[test]
    fn built_in_tools_are_found_by_both_forms_of_their_name() {
        assert_eq!(tools().len(), 1);
        for name in ["orchestrator:restart_server", " orchestrator__restart_server"] {
            assert_eq!(find(name).unwrap().id(), "orchestrator:restart_server");
        }
        assert!(find("orchestrator:rm").is_none() && is_meant("orchestrator:rm"));
        assert!(!is_meant("orchestrators:x"));
        let arguments = json!({"server": 3}).as_object().cloned().unwrap();
        assert_eq!(validate(tools()[0].input_schema(), &arguments).len(), 1);
    }
}
