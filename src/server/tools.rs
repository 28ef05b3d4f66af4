//! Names, inputs and definitions of the four tools. Names and parameters are frozen once released.

use std::sync::Arc;

use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const EXECUTE: &str = "execute";
pub(super) const SEARCH_TOOLS: &str = "search_tools";
pub(super) const CALL_TOOL: &str = "call_tool";
pub(super) const LIST_SERVERS: &str = "list_servers";
pub(super) const NAMES: [&str; 4] = [EXECUTE, SEARCH_TOOLS, CALL_TOOL, LIST_SERVERS];

/// Bytes of server names in a description; the instructions have all of them.
const NAMED_BYTES: usize = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExecuteInput {
    pub(super) task: String,
    pub(super) arguments: Option<Value>,
    pub(super) server: Option<String>,
    pub(super) dry_run: Option<bool>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Detail {
    #[default]
    Compact,
    Full,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchInput {
    pub(super) query: Option<String>,
    pub(super) names: Option<Vec<String>>,
    pub(super) server: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) detail: Option<Detail>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CallInput {
    pub(super) tool: String,
    pub(super) arguments: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListInput {
    pub(super) server: Option<String>,
}

/// The four definitions. `servers` are those behind: models skip a search tool that does not say
/// what it finds.
///
/// `execute` and `call_tool` declare no output schema on purpose: their result is the child's own,
/// and clients of both SDKs reject a result without `structuredContent` from a tool with a schema.
pub(super) fn definitions(servers: &[String]) -> Vec<Tool> {
    let behind = behind(servers);
    let arguments = json!({
        "type": ["object", "string", "null"],
        "description": "Arguments of the tool that does it: an object, or a JSON string of one"
    });
    vec![
        define(
            EXECUTE,
            "Do a task",
            format!(
                "Do something with the user's connected tools{behind}. Say in one sentence what is wanted; the right tool is \
                 found and called. If it needs arguments, is unclear or nothing fits, the answer says so, with the exact next call."
            ),
            &json!({
                "type": "object",
                "properties": {
                    "task": {"type": "string", "description": "What is wanted, in plain language"},
                    "arguments": arguments,
                    "server": {"type": "string", "description": "Use this server only"},
                    "dry_run": {"type": "boolean", "description": "Show what would be called, and call nothing"}
                },
                "required": ["task"],
                "additionalProperties": false
            }),
            None,
            ToolAnnotations::new().read_only(false).destructive(true).idempotent(false).open_world(true),
        ),
        define(
            SEARCH_TOOLS,
            "Find tools",
            format!("Find which of the connected tools{behind} fit a task, best first, each with its parameters and a confidence."),
            &json!({
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "What is wanted, in plain language"},
                    "names": {"type": "array", "items": {"type": "string"}, "description": "Describe these tools instead"},
                    "server": {"type": "string", "description": "Look on this server only"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": 5},
                    "detail": {"type": "string", "enum": ["compact", "full"], "default": "compact",
                               "description": "full: with input schemas, and why each is there"}
                },
                "additionalProperties": false
            }),
            Some(&json!({
                "type": "object",
                "properties": {
                    "results": {"type": "array", "items": {"type": "object", "properties": {
                        "server": {"type": "string"}, "tool": {"type": "string"}, "confidence": {"type": "number"},
                        "signature": {"type": "string"}, "description": {"type": "string"}
                    }, "required": ["server", "tool", "signature", "description"]}}
                },
                "required": ["results"]
            })),
            ToolAnnotations::new().read_only(true).open_world(false),
        ),
        define(
            CALL_TOOL,
            "Call a tool",
            "Call one connected tool by its name, as found by search_tools or named by execute.".to_owned(),
            &json!({
                "type": "object",
                "properties": {
                    "tool": {"type": "string", "description": "server:tool"},
                    "arguments": arguments
                },
                "required": ["tool"],
                "additionalProperties": false
            }),
            None,
            ToolAnnotations::new().read_only(false).destructive(true).idempotent(false).open_world(true),
        ),
        define(
            LIST_SERVERS,
            "List servers",
            "List the connected servers: state, number of tools, what needs the user. With `server`, also its tools.".to_owned(),
            &json!({
                "type": "object",
                "properties": {"server": {"type": "string", "description": "Show this server's tools"}},
                "additionalProperties": false
            }),
            Some(&json!({
                "type": "object",
                "properties": {
                    "servers": {"type": "array", "items": {"type": "object", "properties": {
                        "server": {"type": "string"}, "state": {"type": "string"}, "tools": {"type": "integer"},
                        "reason": {"type": "string"}
                    }, "required": ["server", "state"]}},
                    "tools": {"type": "array", "items": {"type": "object"}}
                },
                "required": ["servers"]
            })),
            ToolAnnotations::new().read_only(true).open_world(false),
        ),
    ]
}

/// ` (git, memory, time and 3 more)`.
fn behind(servers: &[String]) -> String {
    let mut bytes = 0;
    let fitting = servers.iter().take_while(|server| {
        bytes += server.len() + 2;
        bytes <= NAMED_BYTES
    });
    let named: Vec<&str> = fitting.map(String::as_str).collect();
    match servers.len() - named.len() {
        0 if servers.is_empty() => String::new(),
        0 => format!(" ({})", named.join(", ")),
        more => format!(" ({} and {more} more)", named.join(", ")),
    }
}

fn define(
    name: &'static str,
    title: &str,
    description: String,
    input: &Value,
    output: Option<&Value>,
    annotations: ToolAnnotations,
) -> Tool {
    let mut tool = Tool::new(name, description, object(input));
    tool.title = Some(title.to_owned());
    tool.output_schema = output.map(object);
    tool.annotations = Some(annotations);
    // Hosts that defer tools would otherwise hide all four behind their own search.
    let mut meta = MetaObject::new();
    meta.0.insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
    tool.meta = Some(meta);
    tool
}

fn object(schema: &Value) -> Arc<JsonObject> {
    Arc::new(schema.as_object().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_definitions_stay_small_and_valid() {
        let servers: Vec<String> = (0..100).map(|number| format!("server-name-{number}")).collect();
        let definitions = definitions(&servers);
        assert_eq!(definitions.iter().map(|tool| tool.name.as_ref()).collect::<Vec<_>>(), NAMES);
        for tool in &definitions {
            let schema = Value::Object((*tool.input_schema).clone());
            assert!(jsonschema::validator_for(&schema).is_ok(), "{}", tool.name);
        }
        // A token of such JSON has four bytes or so; the bound is 1,200 tokens.
        let bytes = serde_json::to_string(&definitions).unwrap().len();
        assert!(bytes < 4_400, "{bytes} bytes");
    }
}
