//! Real third-party servers: everything, filesystem, git, memory and time.

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, first_text, processes_with, real_servers, root, wait_until};

/// A sandbox over the real servers, indexed; none where they or the model are not installed. The
/// memory server gets a file of its own.
fn indexed() -> Option<Sandbox> {
    let file = real_servers()?;
    let mut config: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let sandbox = Sandbox::new(json!({}));
    config["mcpServers"]["memory"]["env"]["MEMORY_FILE_PATH"] = json!(sandbox.path("memory.jsonl"));
    sandbox.configure(&config.to_string());
    let summary = sandbox.json(&["reindex", "--json"]);
    assert_eq!((&summary["failed"], &summary["tools"]), (&json!(0), &json!(50)), "{summary}");
    Some(sandbox)
}

fn call(session: &mut Session, tool: &str, arguments: &Value) -> Value {
    let result = session.call(tool, arguments);
    assert_ne!(result["isError"], true, "{tool}: {result}");
    result
}

#[test]
fn every_real_server_answers_a_real_call() {
    let Some(sandbox) = indexed() else { return };
    let mut session = sandbox.serve();
    let sum = call(&mut session, "everything:get-sum", &json!({"a": 17, "b": 25}));
    assert!(first_text(&sum).contains("42"), "{sum}");
    let models = call(&mut session, "filesystem:list_directory", &json!({"path": root().join("models")}));
    assert!(first_text(&models).contains("manifest.json"), "{models}");
    let status = call(&mut session, "git:git_status", &json!({"repo_path": root()}));
    assert!(first_text(&status).to_lowercase().contains("status"), "{status}");
    let note = json!({"entities": [{"name": "tea", "entityType": "note", "observations": ["first flush Darjeeling"]}]});
    call(&mut session, "memory:create_entities", &note);
    let found = call(&mut session, "memory:search_nodes", &json!({"query": "tea"}));
    assert!(first_text(&found).contains("Darjeeling"), "{found}");
    let time = call(&mut session, "time:get_current_time", &json!({"timezone": "Asia/Tokyo"}));
    assert!(first_text(&time).contains("+09:00"), "{time}");
    // An image passes as it is.
    let image = call(&mut session, "everything:get-tiny-image", &json!({}));
    assert!(image["content"].as_array().unwrap().iter().any(|block| block["type"] == "image"));
    session.end();
    wait_until("no real server is left", || {
        processes_with(sandbox.path("memory.jsonl").to_str().unwrap()).is_empty().then_some(())
    });
}

#[test]
fn plain_tasks_reach_the_right_server() {
    let Some(sandbox) = indexed() else { return };
    for (task, server) in [
        ("what time is it in Tokyo right now", "time"),
        ("list the files in the models folder", "filesystem"),
        ("what changed in the last commit", "git"),
        ("search my notes for tea", "memory"),
        ("what is the sum of 17 and 25", "everything"),
    ] {
        let found = sandbox.json(&["search", task, "--json"]);
        assert_eq!(found["results"][0]["server"], server, "{task}: {}", found["results"][0]);
    }
}
