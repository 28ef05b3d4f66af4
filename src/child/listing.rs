//! A child's tool list: all pages, within bounds, read tool by tool, so that one that makes no sense
//! costs no other. What was left out is kept as warnings for people.

use std::collections::HashSet;

use rmcp::{
    Peer, RoleClient, ServiceError,
    model::{ClientRequest, CustomResult, ListToolsRequest, PaginatedRequestParams, ServerResult, Tool},
};
use serde_json::{Map, Value};

use super::{ServerInfo, transport::UNREADABLE};
use crate::config::Limits;

/// One complete answer to `tools/list`.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The server's name in the configuration.
    pub server: String,
    /// What it says of itself.
    pub info: ServerInfo,
    /// Its tools, in its order.
    pub tools: Vec<Tool>,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// Why there is no list.
#[derive(Debug)]
pub(super) enum ListError {
    /// The pipes are closed.
    Closed,
    /// It answered with an error, or with something that is no list.
    Refused(String),
}

impl ListError {
    fn unreadable(reason: &str) -> Self {
        Self::Refused(format!("its answer cannot be read: {reason}"))
    }
}

impl From<ServiceError> for ListError {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::TransportClosed | ServiceError::TransportSend(_) => Self::Closed,
            ServiceError::McpError(error) if error.code == UNREADABLE => Self::unreadable(&error.message),
            ServiceError::McpError(error) => {
                Self::Refused(format!("{} (code {})", error.message, error.code.0))
            }
            other => Self::Refused(other.to_string()),
        }
    }
}

/// What is gathered over the pages.
struct Collected {
    limits: Limits,
    tools: Vec<Tool>,
    names: HashSet<String>,
    bytes: usize,
    warnings: Vec<String>,
}

/// Reads all pages.
pub(super) async fn list_tools(
    peer: &Peer<RoleClient>,
    limits: Limits,
) -> Result<(Vec<Tool>, Vec<String>), ListError> {
    let mut collected =
        Collected { limits, tools: Vec::new(), names: HashSet::new(), bytes: 0, warnings: Vec::new() };
    let mut cursors = HashSet::new();
    let mut cursor: Option<String> = None;
    for _ in 0..limits.pages.max(1) {
        let page = request_page(peer, cursor.take()).await?;
        let Some(listed) = page.get("tools").and_then(Value::as_array) else {
            return Err(ListError::unreadable("it has no array \"tools\""));
        };
        if !listed.iter().all(|tool| collected.take(tool)) {
            return Ok(collected.finish());
        }
        match next_cursor(&page) {
            None => return Ok(collected.finish()),
            Some(next) if !cursors.insert(next.to_owned()) => {
                collected.warnings.push("tools/list repeats a cursor; listing stopped there".to_owned());
                return Ok(collected.finish());
            }
            Some(next) => cursor = Some(next.to_owned()),
        }
    }
    let pages = limits.pages;
    collected.warnings.push(format!("tools/list has more than {pages} pages; the rest is left out"));
    Ok(collected.finish())
}

/// The cursor of the next page; an empty one, or what is no text, is none.
fn next_cursor(page: &Map<String, Value>) -> Option<&str> {
    page.get("nextCursor").and_then(Value::as_str).filter(|cursor| !cursor.is_empty())
}

async fn request_page(
    peer: &Peer<RoleClient>,
    cursor: Option<String>,
) -> Result<Map<String, Value>, ListError> {
    let mut request = ListToolsRequest::default();
    if cursor.is_some() {
        let mut params = PaginatedRequestParams::default();
        params.cursor = cursor;
        request.params = Some(params);
    }
    match peer.send_request(ClientRequest::ListToolsRequest(request)).await? {
        ServerResult::CustomResult(CustomResult(Value::Object(page))) => Ok(page),
        _ => Err(ListError::unreadable("it is no object")),
    }
}

impl Collected {
    /// Takes in a tool; false when there is no room for more.
    fn take(&mut self, raw: &Value) -> bool {
        let name = raw.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.tools.len() >= self.limits.tools {
            let limit = self.limits.tools;
            self.warnings.push(format!("it lists more than {limit} tools; the rest is left out"));
            return false;
        }
        self.bytes += raw.to_string().len();
        if self.bytes > self.limits.list_bytes {
            let limit = self.limits.list_bytes;
            self.warnings
                .push(format!("its tools take more than {limit} bytes; left out from \"{name}\" on"));
            return false;
        }
        match read_tool(raw) {
            Err(reason) => self.warnings.push(format!("tool \"{name}\" is left out: {reason}")),
            Ok(_) if !self.names.insert(name.clone()) => {
                self.warnings.push(format!("tool \"{name}\" is listed twice; the first is kept"));
            }
            Ok(tool) => self.tools.push(tool),
        }
        true
    }

    fn finish(mut self) -> (Vec<Tool>, Vec<String>) {
        const SHOWN: usize = 20;
        if self.warnings.len() > SHOWN {
            let more = self.warnings.len() - SHOWN;
            self.warnings.truncate(SHOWN);
            self.warnings.push(format!("and {more} more"));
        }
        (self.tools, self.warnings)
    }
}

/// A tool as it was listed. Some servers leave the schema out of tools without parameters.
fn read_tool(raw: &Value) -> Result<Tool, String> {
    let Value::Object(fields) = raw else { return Err("it is no object".to_owned()) };
    if fields.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("it has no name".to_owned());
    }
    let mut fields = fields.clone();
    match fields.get("inputSchema") {
        None | Some(Value::Null) => {
            fields.insert("inputSchema".to_owned(), serde_json::json!({"type": "object"}));
        }
        Some(_) => {}
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn collect(limits: Limits, tools: &[Value]) -> (Vec<String>, Vec<String>) {
        let mut collected =
            Collected { limits, tools: Vec::new(), names: HashSet::new(), bytes: 0, warnings: Vec::new() };
        let _all = tools.iter().all(|tool| collected.take(tool));
        let (tools, warnings) = collected.finish();
        (tools.into_iter().map(|tool| tool.name.into_owned()).collect(), warnings)
    }

    #[test]
    fn one_bad_tool_costs_no_other() {
        let (names, warnings) = collect(
            Limits::default(),
            &[
                json!({"name": "good", "inputSchema": {"type": "object"}}),
                json!({"name": "bare"}),
                json!({"name": "null", "inputSchema": null}),
                json!({"name": "bad", "inputSchema": 3}),
                json!({"inputSchema": {}}),
                json!("text"),
                json!({"name": "good", "inputSchema": {}}),
            ],
        );
        assert_eq!(names, ["good", "bare", "null"]);
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert!(warnings[3].contains("listed twice"));
    }

    #[test]
    fn a_cursor_may_be_anything() {
        let page = |cursor: Value| {
            let page = json!({"tools": [], "nextCursor": cursor});
            next_cursor(page.as_object().unwrap()).map(str::to_owned)
        };
        assert_eq!(page(json!("a\u{0}b")).as_deref(), Some("a\u{0}b"));
        for none in [json!(null), json!(7), json!(""), json!({"a": 1}), json!(["x"])] {
            assert_eq!(page(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn a_list_has_bounds() {
        let tools: Vec<Value> = (0..50).map(|number| json!({"name": format!("t{number}")})).collect();
        let (names, warnings) = collect(Limits { tools: 7, ..Limits::default() }, &tools);
        assert_eq!((names.len(), warnings.len()), (7, 1));
        let (names, warnings) = collect(Limits { list_bytes: 100, ..Limits::default() }, &tools);
        assert!(names.len() < 10 && warnings[0].contains("100 bytes"), "{warnings:?}");
    }
}
