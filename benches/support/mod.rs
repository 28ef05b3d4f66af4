//! Data that the benches share: real tool texts where there are some, vectors kept between runs.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each bench uses its part")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use orchestrator::{
    catalog::{Store, text},
    child::{Listing, ServerInfo},
    config::{ChildSettings, ServerConfig, Transport},
    embed::{DEFAULT_MODEL, Embedder, Encoder, ModelSource, Purpose},
    examples::ExampleStore,
    index::Library,
    router::Router,
};
use rmcp::model::{JsonObject, Tool};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    server: String,
    name: String,
    description: Option<String>,
    input_schema: Option<JsonObject>,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether criterion was called to measure (`cargo bench`), and not to try each bench once.
pub fn measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// The fixture child, which stands beside the program once `cargo build --examples` made it.
pub fn fixture() -> Option<PathBuf> {
    let path =
        Path::new(env!("CARGO_BIN_EXE_orchestrator")).with_file_name("examples").join("fixture-server");
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there; cargo build --release --examples makes it", path.display());
    None
}

/// The default model.
pub fn source() -> ModelSource {
    ModelSource { model: DEFAULT_MODEL.to_owned(), downloads: cache() }
}

/// A query of so many tokens, special ones counted along.
pub fn text_of_tokens(encoder: &Encoder, tokens: usize) -> String {
    let words = "what time is it in the city of Tokyo right now and how many hours is that ahead of Berlin"
        .split(' ');
    let words: Vec<&str> = words.cycle().take(200).collect();
    (1..words.len())
        .map(|count| words[..count].join(" "))
        .find(|text| encoder.token_count(text, Purpose::Query).is_ok_and(|count| count >= tokens))
        .expect("there are enough words")
}

/// Folder of what is kept between runs.
pub fn cache() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("bench-cache")
}

/// Real tools by server: those of ../shared, or the sample of this repository.
pub fn tools() -> Vec<(String, Tool)> {
    let shared = root().join("../shared/eval/fleet/tools.jsonl");
    let file =
        if shared.is_file() && measuring() { shared } else { root().join("tests/data/sample-tools.jsonl") };
    let lines = std::fs::read_to_string(&file).expect("the tools are there");
    let tools: Vec<(String, Tool)> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a tool a line"))
        .map(|line: Line| {
            let schema = Arc::new(line.input_schema.unwrap_or_default());
            (line.server, Tool::new(line.name, line.description.unwrap_or_default(), schema))
        })
        .collect();
    eprintln!("{} tools from {}", tools.len(), file.display());
    tools
}

/// The texts that are embedded for tools.
pub fn texts(tools: &[(String, Tool)]) -> Vec<String> {
    tools.iter().map(|(server, tool)| text::to_embed(server, tool)).collect()
}

/// A library over exactly `count` tools, the real ones repeated under other server names where
/// there are too few, and a router over it. Vectors are kept in the cache.
pub fn library(runtime: &tokio::runtime::Runtime, source: ModelSource, count: usize) -> (Library, Router) {
    let tools = tools();
    let mut servers: BTreeMap<String, Vec<Tool>> = BTreeMap::new();
    for (at, (server, tool)) in tools.iter().cycle().take(count).enumerate() {
        let round = at / tools.len();
        let server = if round == 0 { server.clone() } else { format!("{server}-{round}") };
        servers.entry(server).or_default().push(tool.clone());
    }
    let config = servers
        .keys()
        .map(|server| {
            let transport = Transport::Invalid("a bench".to_owned());
            (server.clone(), ServerConfig { transport, disabled: false, settings: ChildSettings::default() })
        })
        .collect();
    let store = Store::open(&cache().join(format!("catalog-{count}.db"))).expect("the store opens");
    let embedder = Embedder::start(source);
    let examples = ExampleStore::in_memory().expect("examples can be kept in memory");
    let library = Library::start(store.clone(), examples, embedder.clone(), &config, 20_000)
        .expect("the library starts");
    let listings = servers.into_iter().map(|(server, tools)| Listing {
        server,
        info: ServerInfo::default(),
        tools,
        warnings: Vec::new(),
    });
    runtime.block_on(library.apply_all(listings.collect())).expect("the tools are taken in");
    let router = Router::new(library.clone(), store, embedder);
    (library, router)
}
