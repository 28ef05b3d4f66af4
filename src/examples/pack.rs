//! The examples that are shipped: for tools of popular public servers, written by hand. Compressed
//! JSON lines inside the program, read when they are first needed.

use std::{collections::HashMap, io::Read};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ExampleLine, NewExample};
use crate::catalog::Tool;

/// `models/example-tasks.jsonl.gz`: a line for each server; `scripts/pack_examples.rs` makes it.
static SHIPPED: &[u8] = include_bytes!("../../models/example-tasks.jsonl.gz");

/// A server in the pack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackedServer {
    /// Its usual name.
    pub name: String,
    /// Names under which its program is installed, without version.
    pub packages: Vec<String>,
    /// Language of the tasks, as a BCP 47 tag.
    pub language: String,
    /// Its tools.
    pub tools: Vec<PackedTool>,
}

/// A tool in the pack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PackedTool {
    /// Its own name.
    pub name: String,
    /// First half of its content hash.
    pub hash: String,
    /// The tasks.
    pub tasks: Vec<String>,
}

/// Hexadecimal digits of a content hash that are kept: 64 bits.
const HASH_DIGITS: usize = 16;

impl PackedTool {
    /// An entry for a tool with that content hash.
    pub fn new(tool: &Tool, tasks: Vec<String>) -> Self {
        Self { name: tool.name().to_owned(), hash: tool.hash[..HASH_DIGITS].to_owned(), tasks }
    }
}

/// Examples by tool.
#[derive(Debug, Default)]
pub struct Pack {
    servers: Vec<PackedServer>,
    by_hash: HashMap<String, (usize, usize)>,
    by_name: HashMap<(String, String), (usize, usize)>,
}

/// What the pack has for a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The tasks.
    pub tasks: &'a [String],
    /// Their language.
    pub language: &'a str,
    /// Whether they were written for exactly this definition of the tool.
    pub exact: bool,
}

impl Pack {
    /// The pack in this program. An unreadable one, which a test excludes, is empty.
    pub fn shipped() -> Self {
        Self::read(SHIPPED).unwrap_or_else(|error| {
            tracing::error!("the shipped examples cannot be read: {error}");
            Self::default()
        })
    }

    /// Changes with every change of the shipped pack; told without reading it.
    pub fn shipped_version() -> String {
        crate::digest::hex(&Sha256::digest(SHIPPED)[..HASH_DIGITS / 2])
    }

    /// Reads compressed lines.
    fn read(compressed: &[u8]) -> std::io::Result<Self> {
        let mut text = String::new();
        flate2::read::GzDecoder::new(compressed).read_to_string(&mut text)?;
        let servers = text.lines().map(serde_json::from_str).collect::<Result<Vec<PackedServer>, _>>()?;
        Ok(Self::new(servers))
    }

    fn new(servers: Vec<PackedServer>) -> Self {
        let (mut by_hash, mut by_name) = (HashMap::new(), HashMap::new());
        for (server_at, server) in servers.iter().enumerate() {
            for (tool_at, tool) in server.tools.iter().enumerate() {
                by_hash.insert(tool.hash.clone(), (server_at, tool_at));
                for package in &server.packages {
                    by_name.insert((package.clone(), tool.name.clone()), (server_at, tool_at));
                }
            }
        }
        Self { servers, by_hash, by_name }
    }

    /// All examples, by the usual names of their servers.
    pub fn lines(&self) -> impl Iterator<Item = ExampleLine> {
        self.servers.iter().flat_map(|server| {
            server.tools.iter().map(|tool| ExampleLine {
                tool: format!("{}:{}", server.name, tool.name),
                tasks: tool.tasks.clone(),
                language: Some(server.language.clone()),
            })
        })
    }

    /// Number of tools.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The tasks for a tool: of exactly this definition, or of a tool of that name in the same package,
    /// whose definition changed since. `words` are the words of the command that starts the server.
    pub fn find(&self, tool: &Tool, words: &[String]) -> Option<Found<'_>> {
        let hash = tool.hash.get(..HASH_DIGITS)?;
        if let Some(place) = self.by_hash.get(hash) {
            return Some(self.found(*place, true));
        }
        let packages = words.iter().flat_map(|word| packages(word));
        let mut places = packages.filter_map(|package| self.by_name.get(&(package, tool.name().to_owned())));
        places.next().map(|place| self.found(*place, false))
    }

    fn found(&self, (server, tool): (usize, usize), exact: bool) -> Found<'_> {
        let server = &self.servers[server];
        Found { tasks: &server.tools[tool].tasks, language: &server.language, exact }
    }
}

impl Found<'_> {
    /// The tasks as examples of a tool.
    pub fn examples(&self, tool: &Tool) -> Vec<NewExample> {
        let example = |text: &String| NewExample {
            server: tool.server.clone(),
            tool: tool.name().to_owned(),
            text: text.clone(),
            language: Some(self.language.to_owned()),
        };
        self.tasks.iter().map(example).collect()
    }
}

/// Packages that a word of a command may mean: `@scope/name@1.2`, `name==1.2`, `name[extra]`,
/// `/somewhere/node_modules/@scope/name/dist/index.js`, `/somewhere/bin/name`.
fn packages(word: &str) -> Vec<String> {
    let mut found = Vec::new();
    if let Some((_, inside)) = word.rsplit_once("node_modules/") {
        let parts: Vec<&str> = inside.splitn(3, '/').collect();
        let count = if inside.starts_with('@') { 2 } else { 1 };
        found.push(parts[..count.min(parts.len())].join("/"));
        return found;
    }
    let path = word.strip_prefix("npm:").or_else(|| word.strip_prefix("pypi:")).unwrap_or(word);
    let name = if path.starts_with('@') { path } else { path.rsplit(['/', '\\']).next().unwrap_or(path) };
    let without_version = match name.get(1..).and_then(|rest| rest.find(['@', '=', '[', '<', '>', '~'])) {
        Some(end) => &name[..=end],
        None => name,
    };
    found.push(without_version.trim_end_matches(".exe").to_owned());
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rmcp::model::Tool as Definition;

    use super::*;

    fn tool(name: &'static str, description: &'static str) -> Tool {
        Tool::new("mine", Definition::new(name, description, Arc::default()))
    }

    #[test]
    fn words_of_a_command_name_packages() {
        for (word, package) in [
            ("@scope/name@1.2.3", "@scope/name"),
            ("@scope/name", "@scope/name"),
            ("mcp-server-git==2026.1", "mcp-server-git"),
            ("mcp-server-git[all]", "mcp-server-git"),
            ("/opt/x/node_modules/@scope/name/dist/index.js", "@scope/name"),
            ("C:\\x\\node_modules/name/index.js", "name"),
            ("/home/me/.venv/bin/mcp-server-git", "mcp-server-git"),
            ("pypi:arxiv-mcp-server@0.8.2", "arxiv-mcp-server"),
            ("-y", "-y"),
            ("", ""),
        ] {
            assert_eq!(packages(word), [package], "{word}");
        }
    }

    #[test]
    fn a_tool_is_found_by_its_content_and_else_by_package_and_name() {
        let known = tool("status", "Show the status");
        let packed = PackedServer {
            name: "git".to_owned(),
            packages: vec!["mcp-git".to_owned()],
            language: "en".to_owned(),
            tools: vec![PackedTool::new(&known, vec!["what did I change".to_owned()])],
        };
        let pack = Pack::new(vec![packed]);
        assert!(pack.find(&known, &[]).is_some_and(|found| found.exact));
        let changed = tool("status", "Show the working tree status");
        assert_eq!(pack.find(&changed, &[]), None);
        let words = ["uvx".to_owned(), "mcp-git@1.0".to_owned()];
        let found = pack.find(&changed, &words).unwrap();
        assert!(!found.exact && found.examples(&changed)[0].text == "what did I change");
        assert_eq!(pack.find(&tool("commit", ""), &words), None);
    }

    #[test]
    fn the_shipped_pack_is_whole() {
        let pack = Pack::shipped();
        assert!(pack.len() > 1_800, "{} tools", pack.len());
        for tool in pack.servers.iter().flat_map(|server| &server.tools) {
            assert!(tool.tasks.len() >= 3, "{tool:?}");
            assert!(tool.tasks.iter().all(|task| super::super::tidy(task) == *task), "{tool:?}");
        }
    }
}
