//! From a task to an action: real servers behind, and the Python SDK's client in front, with a model and a user
//! who can be asked and without.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{Sandbox, orchestrator, real_servers, root, text};

const CLOCK: &str = "what time is it in Tokyo when it is 9:30 in Berlin";
const READ: &str = "read the first 5 lines of README.md";
const SEARCH: &str = "search the files under src for the word confidence";
const NOTE: &str = "save a note that the build is green";
const DELETE: &str = "delete the folder tmp/x";
const MARS: &str = "book me a flight to Mars";

/// The real servers, the filesystem's over a small project, and one that deletes folders of it.
fn indexed() -> Option<Sandbox> {
    let file = real_servers()?;
    let sandbox = Sandbox::new(json!({}));
    let project = sandbox.path("project");
    fs::create_dir_all(project.join("src")).unwrap();
    fs::create_dir_all(project.join("tmp/x")).unwrap();
    fs::write(project.join("src/confidence.rs"), "of a ranking").unwrap();
    fs::write(project.join("tmp/x/old"), "").unwrap();
    let lines: Vec<String> = (1..=20).map(|line| format!("line {line}")).collect();
    fs::write(project.join("README.md"), lines.join("\n")).unwrap();

    let mut config: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    config["mcpServers"]["memory"]["env"]["MEMORY_FILE_PATH"] = json!(sandbox.path("memory.jsonl"));
    let filesystem = &mut config["mcpServers"]["filesystem"];
    filesystem["cwd"] = json!(project);
    *filesystem["args"].as_array_mut().unwrap().last_mut().unwrap() = json!(project);
    config["mcpServers"]["folders"] = json!({
        "command": root().join(".servers/venv/bin/python"),
        "args": [root().join("tests/fixtures/folders.py"), &project]
    });
    config["orchestrator"] = json!({"examples": {"sampling": "off"}});
    sandbox.configure(&config.to_string());
    sandbox.json(&["reindex", "--json"]);
    Some(sandbox)
}

/// What became of each task, and what the client was asked.
fn act(sandbox: &Sandbox, scenario: &str) -> Value {
    let tasks = json!({
        CLOCK: [], READ: [],
        SEARCH: [r#"{"path": 5, "pattern": "**"}"#, "```json\n{\"path\": \"src\", \"pattern\": \"**\"}\n```"],
        NOTE: [], DELETE: [], MARS: []
    });
    let output = Command::new(root().join(".servers/venv/bin/python"))
        .arg(root().join("tests/fixtures/acting_client.py"))
        .args([orchestrator().as_os_str(), sandbox.config().as_os_str(), sandbox.data().as_os_str()])
        .args([scenario, &tasks.to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{scenario}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn of<'a>(seen: &'a Value, task: &str) -> &'a Value {
    seen["seen"].as_array().unwrap().iter().find(|outcome| outcome["task"] == task).unwrap()
}

/// What is the same whether anybody helps or not.
fn check_what_needs_no_help(seen: &Value) {
    let clock = of(seen, CLOCK);
    assert_eq!((&clock["status"], &clock["tool"]), (&json!("done"), &json!("time:convert_time")), "{clock}");
    assert!(clock["text"].as_str().unwrap().contains(":30:00+09:00"), "{clock}");
    assert_eq!(clock["facts"]["inferred"]["arguments"]["source_timezone"], "Europe/Berlin", "{clock}");
    let read = of(seen, READ);
    assert_eq!(
        (&read["status"], &read["text"]),
        (&json!("done"), &json!("line 1\nline 2\nline 3\nline 4\nline 5"))
    );
    let said: Vec<&Value> =
        read["facts"]["inferred"]["from"].as_array().unwrap().iter().map(|from| &from["said"]).collect();
    assert_eq!(said, ["5", "README.md"]);
    // Nothing here takes notes well enough to do it unasked.
    assert_eq!(of(seen, NOTE)["status"], "ambiguous", "{seen}");
    assert_eq!(of(seen, MARS)["status"], "no_match", "{seen}");
}

#[test]
fn a_client_that_offers_nothing_gets_the_request_to_send() {
    let Some(sandbox) = indexed() else { return };
    let seen = act(&sandbox, "alone");
    check_what_needs_no_help(&seen);
    let search = of(&seen, SEARCH);
    assert_eq!(search["status"], "needs_arguments", "{search}");
    assert_eq!(search["facts"]["call_tool"]["tool"], "filesystem:search_files");
    let delete = of(&seen, DELETE);
    assert_eq!(delete["status"], "needs_confirmation", "{delete}");
    let request = json!({"tool": "folders:delete_folder", "arguments": {"path": "tmp/x"}});
    assert_eq!(delete["facts"]["call_tool"], request);
    assert!(sandbox.path("project/tmp/x/old").exists());
}

#[test]
fn a_model_fills_in_arguments_and_a_user_decides_what_is_destroyed() {
    let Some(sandbox) = indexed() else { return };
    for scenario in ["careful", "helped", "modern"] {
        fs::create_dir_all(sandbox.path("project/tmp/x")).unwrap();
        let seen = act(&sandbox, scenario);
        check_what_needs_no_help(&seen);
        let search = of(&seen, SEARCH);
        assert_eq!(search["tool"], "filesystem:search_files", "{scenario}: {search}");
        let prompts = seen["prompts"].as_array().unwrap();
        assert!(prompts[0].as_str().unwrap().contains("JSON schema of its arguments: {"), "{prompts:?}");
        assert_eq!((&search["status"], prompts.len()), (&json!("done"), 2), "{scenario}: {search}");
        assert!(prompts[1].as_str().unwrap().contains("path: 5 is not of type"), "{prompts:?}");
        assert!(search["text"].as_str().unwrap().contains("confidence.rs"), "{search}");
        assert_eq!(search["facts"]["inferred"]["by_model"], true, "{search}");
        let questions = seen["questions"].as_array().unwrap();
        assert_eq!(questions.len(), 1, "{questions:?}");
        assert!(
            questions[0].as_str().unwrap().starts_with("folders:delete_folder may change"),
            "{questions:?}"
        );
        let delete = of(&seen, DELETE);
        let is_there = sandbox.path("project/tmp/x").exists();
        if scenario == "careful" {
            assert_eq!((&delete["status"], is_there), (&json!("failed"), true), "{delete}");
            assert!(delete["text"].as_str().unwrap().contains("the user did not agree"), "{delete}");
        } else {
            assert_eq!((&delete["status"], is_there), (&json!("done"), false), "{scenario}: {delete}");
        }
    }
}
