//! The built-in server `orchestrator`: what administration a model may do, reached through
//! `call_tool` like any other server, so that the host's list stays at four tools.

use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde_json::{Value, json};

use super::ToolView;
use crate::{
    catalog::Tool,
    child::Pool,
    config::RESERVED_SERVER_NAME,
    examples::{ExampleLine, NewExample, Source, prompt},
    index::{Library, Snapshot, Verdict},
};

/// Starts a server afresh.
const RESTART_SERVER: &str = "restart_server";
/// Names tools that no example teaches yet.
const UNTAUGHT_TOOLS: &str = "untaught_tools";
/// Takes in examples.
const ADD_EXAMPLES: &str = "add_examples";

/// Reads on where a long result was cut; answered by the session that cut it.
pub const READ_MORE: &str = "orchestrator:read_more";

/// Tools that are shown to be taught at once, unless asked otherwise.
const TAUGHT_AT_ONCE: usize = 10;

/// The built-in tools.
pub fn tools() -> Vec<Tool> {
    let definitions = [restart_server(), untaught_tools(), add_examples(), read_more()];
    // They are our own, and a test reads them.
    let definitions =
        definitions.into_iter().filter_map(|definition| serde_json::from_value(definition).ok());
    definitions.map(|definition| Tool::new(RESERVED_SERVER_NAME, definition)).collect()
}

fn untaught_tools() -> Value {
    json!({
        "name": UNTAUGHT_TOOLS,
        "description": "Show connected tools for which no example tasks are known yet, and how to write some; hand them in with add_examples",
        "inputSchema": {
            "type": "object",
            "properties": {
                "server": {"type": "string", "description": "Tools of this server only"},
                "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": TAUGHT_AT_ONCE},
                "language": {"type": "string", "description": "Language in which the user speaks"}
            },
            "additionalProperties": false
        },
        "annotations": {"readOnlyHint": true, "openWorldHint": false}
    })
}

fn add_examples() -> Value {
    json!({
        "name": ADD_EXAMPLES,
        "description": "Hand in example tasks, what people say when they need a tool, so that it is found by them",
        "inputSchema": {
            "type": "object",
            "properties": {
                "examples": {"type": "array", "maxItems": 100, "items": {
                    "type": "object",
                    "properties": {
                        "tool": {"type": "string", "description": "server:tool"},
                        "tasks": {"type": "array", "items": {"type": "string"}, "maxItems": 12},
                        "language": {"type": "string"}
                    },
                    "required": ["tool", "tasks"],
                    "additionalProperties": false
                }}
            },
            "required": ["examples"],
            "additionalProperties": false
        },
        "annotations": {"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false}
    })
}

fn read_more() -> Value {
    json!({
        "name": "read_more",
        "description": "Read on where a long result was cut, from the cursor that stands there",
        "inputSchema": {
            "type": "object",
            "properties": {"cursor": {"type": "string", "description": "The cursor at the end of what was shown"}},
            "required": ["cursor"],
            "additionalProperties": false
        },
        "annotations": {"readOnlyHint": true, "openWorldHint": false}
    })
}

fn restart_server() -> Value {
    json!({
        "name": RESTART_SERVER,
        "description": "Start a connected server afresh and forget its failures, for instance after it was given up and has been mended",
        "inputSchema": {
            "type": "object",
            "properties": {"server": {"type": "string", "description": "Name of the server"}},
            "required": ["server"],
            "additionalProperties": false
        },
        "annotations": {"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true}
    })
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

/// Whether a name means [`READ_MORE`].
pub fn is_read_more(name: &str) -> bool {
    find(name).is_some_and(|tool| tool.id() == READ_MORE)
}

/// Whether a built-in tool is about the tools of all servers, which have to be known for it.
pub(super) fn is_about_tools(tool: &Tool) -> bool {
    [UNTAUGHT_TOOLS, ADD_EXAMPLES].contains(&tool.name())
}

/// What there is instead of a built-in tool that there is not.
pub(super) fn unknown(name: &str) -> String {
    let names: Vec<String> = tools().iter().map(Tool::id).collect();
    format!("unknown tool \"{}\"; the built-in server has {}", name.trim(), names.join(", "))
}

/// Runs a built-in tool. Arguments are checked.
pub(super) async fn run(
    tool: &Tool,
    arguments: &JsonObject,
    pool: &Pool,
    library: &Library,
) -> CallToolResult {
    let text = match tool.name() {
        UNTAUGHT_TOOLS => untaught(arguments, &library.snapshot()),
        ADD_EXAMPLES => take_examples(arguments, library).await,
        RESTART_SERVER => {
            let server = arguments.get("server").and_then(Value::as_str).unwrap_or_default();
            restart(server, pool).await
        }
        _ => Err("only the session in which a result was cut reads on".to_owned()),
    };
    match text {
        Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
        Err(problem) => CallToolResult::error(vec![ContentBlock::text(problem)]),
    }
}

/// The prompt for some tools without an example.
fn untaught(arguments: &JsonObject, snapshot: &Snapshot) -> Result<String, String> {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let limit = arguments.get("limit").and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    let server = text("server");
    if let Some(server) = server.filter(|server| snapshot.count_of(server).is_none()) {
        return Err(format!("no tools are known of a server \"{server}\"; list_servers shows all"));
    }
    if snapshot.is_empty() {
        return Ok("No tools are known yet.".to_owned());
    }
    let mut untaught: Vec<&Tool> =
        snapshot.untaught().filter(|tool| server.is_none_or(|server| server == tool.server)).collect();
    if untaught.is_empty() {
        return Ok("Every tool has examples.".to_owned());
    }
    let (count, limit) = (untaught.len(), limit.unwrap_or(TAUGHT_AT_ONCE));
    if count > limit {
        // Elsewhere each time: tools whose examples are all set aside shall not hide the rest.
        untaught.rotate_left(fastrand::usize(..count));
    }
    Ok(format!(
        "Tools that have no examples yet: {count}.\n\n{}\nHand these lines in as the array `examples` of {RESERVED_SERVER_NAME}:{ADD_EXAMPLES}, through call_tool.",
        prompt::prompt(untaught.into_iter().take(limit), text("language"))
    ))
}

/// Takes in examples that the host's model wrote.
async fn take_examples(arguments: &JsonObject, library: &Library) -> Result<String, String> {
    let lines: Vec<ExampleLine> =
        serde_json::from_value(arguments.get("examples").cloned().unwrap_or_default())
            .map_err(|error| error.to_string())?;
    let mut examples = Vec::new();
    for line in lines {
        let tool = line.tool.clone();
        examples.extend(line.into_examples().ok_or_else(|| format!("\"{tool}\" is not server:tool"))?);
    }
    let taught = library.teach(examples, Source::Host).await.map_err(|error| crate::report::chain(&error))?;
    let kept =
        taught.iter().filter(|taught| matches!(taught.verdict, Verdict::Kept | Verdict::Known)).count();
    let aside = taught.iter().filter_map(|taught| {
        let reason = match &taught.verdict {
            Verdict::Doubtful(reason) => reason.as_str(),
            Verdict::UnknownTool => "there is no such tool",
            Verdict::Waiting => "it waits for the embedding model",
            Verdict::Off => "the user switched examples from models off",
            Verdict::Kept | Verdict::Known => return None,
        };
        let NewExample { server, tool, text, .. } = &taught.example;
        Some(format!("\n- {server}:{tool} \"{text}\": {reason}"))
    });
    let aside: String = aside.collect();
    let left = library.snapshot().untaught().count();
    let aside = if aside.is_empty() { aside } else { format!("\nSet aside:{aside}") };
    Ok(format!("Examples that are used: {kept}. Tools that have none yet: {left}.{aside}"))
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
        assert_eq!(tools().len(), 4);
        for name in ["orchestrator:restart_server", " orchestrator__restart_server"] {
            assert_eq!(find(name).unwrap().id(), "orchestrator:restart_server");
        }
        assert!(find("orchestrator:rm").is_none() && is_meant("orchestrator:rm"));
        assert!(!is_meant("orchestrators:x"));
        let arguments = json!({"server": 3}).as_object().cloned().unwrap();
        assert_eq!(validate(tools()[0].input_schema(), &arguments).len(), 1);
    }
}
