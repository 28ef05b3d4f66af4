//! All recorded `tools/list` answers of real servers, taken in together by the code that takes in
//! live ones.

use std::{collections::BTreeMap, time::Instant};

use orchestrator::{
    catalog::Store,
    child::{Listing, ServerInfo},
    config::{ChildSettings, ServerConfig, StdioConfig, Transport},
    embed::{DEFAULT_MODEL, Embedder, ModelSource},
    examples::ExampleStore,
    index::Library,
    router::{Mode, Router, Scope},
};
use serde::Deserialize;
use serde_json::json;

use crate::support::{Sandbox, child, shared};

#[derive(Deserialize)]
struct Recorded {
    tools: Vec<rmcp::model::Tool>,
}

/// Names and recorded lists of all servers.
fn recorded(folder: &std::path::Path) -> Vec<(String, std::path::PathBuf)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .filter(|(name, _)| name != "fleet")
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn all_recorded_catalogs_load_and_index_together() {
    let Some(folder) = shared("servers") else { return };
    let files = recorded(&folder);
    assert_eq!(files.len(), 71);
    let listings: Vec<Listing> = files
        .iter()
        .map(|(server, file)| {
            let recorded: Recorded = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            Listing {
                server: server.clone(),
                info: ServerInfo::default(),
                tools: recorded.tools,
                warnings: Vec::new(),
            }
        })
        .collect();
    let count: usize = listings.iter().map(|listing| listing.tools.len()).sum();
    assert_eq!(count, 1895);
    let servers: BTreeMap<String, ServerConfig> =
        files.iter().map(|(server, _)| (server.clone(), config(server))).collect();

    let downloads = tempfile::tempdir().unwrap();
    let source = ModelSource { model: DEFAULT_MODEL.to_owned(), downloads: downloads.path().to_owned() };
    let embedder = Embedder::start(source);
    let store = Store::open(&downloads.path().join("catalog.db")).unwrap();
    let library =
        Library::start(store.clone(), ExampleStore::in_memory().unwrap(), embedder.clone(), &servers, 20_000)
            .unwrap();
    let report = library.apply_all(listings.clone()).await.unwrap();
    assert_eq!(report.changes.added.len(), 1895);
    // Some tools have the same text on two servers of one name.
    assert!(report.embedded > 1_800 && report.embed_error.is_none());
    let snapshot = library.snapshot();
    assert_eq!((snapshot.len(), snapshot.servers().len()), (1895, 71));

    let router = Router::new(library.clone(), store.clone(), embedder.clone());
    let route = router.find_best_mcp("create a GitHub issue in my repository").await.unwrap();
    assert!(route.candidates.iter().take(5).any(|found| found.tool.server == "github"), "{:?}", route.best());
    let scope = Scope::servers(["slack".to_owned()]);
    let only = router.rank("post a message", &scope, 5, Mode::Hybrid).await.unwrap();
    assert!(only.candidates.iter().all(|found| found.tool.server == "slack") && only.candidates.len() == 5);

    // Nothing changed: nothing is written, nothing embedded. And a second library finds all of it.
    let again = library.apply_all(listings).await.unwrap();
    assert!(again.changes.is_empty() && again.embedded == 0);
    let second =
        Library::start(store, ExampleStore::in_memory().unwrap(), embedder, &servers, 20_000).unwrap();
    second.read().await;
    assert_eq!(second.snapshot().len(), 1895);
    second.settled().await;
    assert!(second.snapshot().has_vectors());
}

fn config(server: &str) -> ServerConfig {
    let stdio = StdioConfig { command: server.to_owned(), args: Vec::new(), env: BTreeMap::new(), cwd: None };
    ServerConfig { transport: Transport::Stdio(stdio), disabled: false, settings: ChildSettings::default() }
}

/// The same through real processes: seventy-one children, each with a recorded list.
#[test]
fn seventy_one_live_children_are_indexed_and_found_without_being_started() {
    let Some(folder) = shared("servers") else { return };
    let servers: serde_json::Map<_, _> = recorded(&folder)
        .into_iter()
        .map(|(server, file)| (server, child(&["--listing", file.to_str().unwrap()])))
        .collect();
    // Words are enough here; the test above embeds them all.
    let sandbox = Sandbox::with_settings(servers.into(), json!({"model": "/no/model"}));
    let summary = sandbox.json(&["reindex", "--json"]);
    assert_eq!((&summary["tools"], &summary["failed"]), (&json!(1895), &json!(0)), "{summary}");
    let started = Instant::now();
    let mut session = sandbox.serve();
    let tools = session.request("tools/list", &json!({}));
    eprintln!("tools/list over 71 cached servers answered after {} ms", started.elapsed().as_millis());
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 4);
    let listed = session.tool("list_servers", &json!({}));
    let servers = listed["structuredContent"]["servers"].as_array().unwrap();
    assert!(servers.iter().all(|server| server["state"] == "idle"));
    session.end();
}
