//! Which tool a name means: `server:tool`, `server__tool`, or a tool's own name where only one
//! server has it. A name that means nothing is answered with the nearest one.

use crate::{catalog::Tool, child::nearest, index::Snapshot};

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Target {
    /// A tool of the catalog.
    Known(Box<Tool>),
    /// A tool that a configured server may have, but the catalog does not: the server was never
    /// listed, or has changed since.
    Unseen {
        /// The server.
        server: String,
        /// The tool, if it has it.
        tool: String,
    },
}

/// Why a name stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No such server is configured.
    #[error("unknown server \"{server}\"{}", hint(suggestions))]
    UnknownServer {
        /// The name.
        server: String,
        /// Near ones.
        suggestions: Vec<String>,
    },
    /// The server has no such tool.
    #[error("unknown tool \"{tool}\"{}", hint(suggestions))]
    UnknownTool {
        /// The name.
        tool: String,
        /// Near ones, as `server:tool`.
        suggestions: Vec<String>,
    },
    /// Several servers have a tool of this name.
    #[error("several servers have a tool \"{tool}\"; say which: {}", candidates.join(", "))]
    Ambiguous {
        /// The name.
        tool: String,
        /// All that are meant, as `server:tool`.
        candidates: Vec<String>,
    },
}

fn hint(suggestions: &[String]) -> String {
    match suggestions {
        [] => "; search_tools finds what there is".to_owned(),
        names => format!(
            "; did you mean {}?",
            names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ")
        ),
    }
}

/// Finds the tool behind `name`. `servers` are all configured ones.
pub fn resolve(snapshot: &Snapshot, servers: &[String], name: &str) -> Result<Target, ResolveError> {
    let name = name.trim();
    for separator in [":", "__"] {
        // A server's name may hold "__" itself: the longest that fits is meant.
        let split = servers
            .iter()
            .filter_map(|server| {
                let tool = name.strip_prefix(server.as_str())?.strip_prefix(separator)?;
                Some((server.as_str(), tool))
            })
            .max_by_key(|(server, _)| server.len());
        if let Some((server, tool)) = split {
            return Ok(in_server(snapshot, server, tool));
        }
    }
    if let Some((server, _)) = name.split_once(':') {
        return Err(unknown_server(servers, server));
    }
    let same: Vec<&Tool> = snapshot.tools().filter(|tool| tool.name() == name).collect();
    match same[..] {
        [tool] => Ok(Target::Known(Box::new(tool.clone()))),
        [] => {
            let suggestion = nearest(name, snapshot.tools().map(Tool::name));
            let all = snapshot.tools().filter(|tool| Some(tool.name()) == suggestion);
            Err(ResolveError::UnknownTool {
                tool: name.to_owned(),
                suggestions: all.map(Tool::id).take(3).collect(),
            })
        }
        _ => Err(ResolveError::Ambiguous {
            tool: name.to_owned(),
            candidates: same.iter().map(|tool| tool.id()).collect(),
        }),
    }
}

fn in_server(snapshot: &Snapshot, server: &str, tool: &str) -> Target {
    match snapshot.find(&format!("{server}:{tool}")) {
        Some(found) => Target::Known(Box::new(found.clone())),
        None => Target::Unseen { server: server.to_owned(), tool: tool.to_owned() },
    }
}

/// The error for a tool that a server does not have.
pub(super) fn unknown_tool(server: &str, tool: &str, names: &[&str]) -> ResolveError {
    let suggestion = nearest(tool, names.iter().copied());
    ResolveError::UnknownTool {
        tool: format!("{server}:{tool}"),
        suggestions: suggestion.map(|name| format!("{server}:{name}")).into_iter().collect(),
    }
}

/// Checks that a server is configured.
pub(super) fn known_server(servers: &[String], server: &str) -> Result<(), ResolveError> {
    if servers.iter().any(|known| known == server) { Ok(()) } else { Err(unknown_server(servers, server)) }
}

fn unknown_server(servers: &[String], server: &str) -> ResolveError {
    let suggestion = nearest(server, servers.iter().map(String::as_str));
    ResolveError::UnknownServer {
        server: server.to_owned(),
        suggestions: suggestion.map(str::to_owned).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use rmcp::model::{JsonObject, Tool as Definition};

    use super::*;
    use crate::{
        catalog::{CachedServer, StoredTool},
        child::ServerInfo,
    };

    fn snapshot(ids: &[(&'static str, &'static str)]) -> Snapshot {
        let server = |name: &str| CachedServer {
            name: name.to_owned(),
            fingerprint: String::new(),
            info: ServerInfo::default(),
            listed_at: 0,
        };
        let tools = ids.iter().enumerate().map(|(at, (server, name))| StoredTool {
            id: i64::try_from(at).unwrap(),
            tool: Tool::new(server, Definition::new(*name, "", Arc::new(JsonObject::new()))),
        });
        Snapshot::new(ids.iter().map(|(name, _)| server(name)).collect(), tools.collect(), HashMap::new())
    }

    #[test]
    fn names_in_every_form_mean_the_same_tool() {
        let snapshot =
            snapshot(&[("git", "git_log"), ("my__git", "git_show"), ("fs", "read"), ("s3", "read")]);
        let servers = ["git", "my__git", "fs", "s3", "new"].map(str::to_owned);
        let id = |name: &str| match resolve(&snapshot, &servers, name) {
            Ok(Target::Known(tool)) => tool.id(),
            Ok(Target::Unseen { server, tool }) => format!("unseen {server} {tool}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(id("git:git_log"), "git:git_log");
        assert_eq!(id("git__git_log"), "git:git_log");
        assert_eq!(id(" git_log "), "git:git_log");
        assert_eq!(id("my__git__git_show"), "my__git:git_show");
        assert_eq!(id("new:anything"), "unseen new anything");
        assert_eq!(id("read"), "several servers have a tool \"read\"; say which: fs:read, s3:read");
        assert_eq!(id("git:git_lgo"), "unseen git git_lgo");
        assert_eq!(id("gti:git_log"), "unknown server \"gti\"; did you mean \"git\"?");
        assert_eq!(id("git_shw"), "unknown tool \"git_shw\"; did you mean \"my__git:git_show\"?");
        assert_eq!(id("zzzzzz"), "unknown tool \"zzzzzz\"; search_tools finds what there is");
    }
}
