//! The ranking on tasks that nothing was fitted on: it may get better, not worse.

use std::{collections::HashSet, fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Sandbox, root, shared, text};

/// What the product's ranking, with the shipped examples, does at least with the 110 tasks of
/// `tests/data/golden/gate.jsonl`: three tasks less than it does. Raised when it gets better.
const FLOORS: [(&str, f64); 5] =
    [("h1", 0.706), ("h5", 0.929), ("r5", 0.924), ("ndcg5", 0.827), ("server_h1", 0.878)];

/// Vectors of all tools and examples, kept for the next run.
const VECTORS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/golden-vectors.db");

/// The options of `eval` for a set over these tools, with the shipped examples.
fn over(sandbox: &Sandbox, tools: &Path, queries: &str) -> Vec<String> {
    let pack = sandbox.path("pack.jsonl");
    fs::write(&pack, sandbox.run(&["examples", "export", "--shipped"]).stdout).unwrap();
    let queries = root().join("tests/data").join(queries);
    let files = [
        ("--tools", tools),
        ("--queries", &queries),
        ("--examples", &pack),
        ("--vectors", Path::new(VECTORS)),
    ];
    let options =
        files.iter().flat_map(|(option, file)| [*option, file.to_str().unwrap()].map(str::to_owned));
    ["eval".to_owned()].into_iter().chain(options).collect()
}

/// The recorded tools with their annotations, as `eval` reads them.
fn annotated_tools(servers: &Path, file: &Path) {
    let mut lines = Vec::new();
    for list in fs::read_dir(servers).unwrap().map(|entry| entry.unwrap().path()) {
        if list.extension().is_none_or(|extension| extension != "json") || list.ends_with("fleet.json") {
            continue;
        }
        let listed: Value = serde_json::from_slice(&fs::read(&list).unwrap()).unwrap();
        for mut tool in listed["tools"].as_array().unwrap().clone() {
            tool["server"] = json!(list.file_stem().unwrap().to_str().unwrap());
            lines.push(tool.to_string());
        }
    }
    fs::write(file, lines.join("\n")).unwrap();
}

#[test]
#[ignore = "it takes some minutes; scripts/test.sh runs it"]
fn the_ranking_got_no_worse() {
    let Some(fleet) = shared("eval/fleet") else { return };
    let sandbox = Sandbox::new(json!({}));
    let mut command = over(&sandbox, &fleet.join("tools.jsonl"), "golden/gate.jsonl");
    command.push("--json".to_owned());
    let measured = sandbox.json(&command.iter().map(String::as_str).collect::<Vec<_>>());
    for (figure, floor) in FLOORS {
        assert!(measured[figure].as_f64().unwrap() >= floor, "{figure} is below {floor}: {measured}");
    }
}

/// Over tasks that delete, pay and run programs, and all others, by labels that a person gave the tools.
#[test]
#[ignore = "it takes some minutes; scripts/test.sh runs it"]
fn what_may_destroy_something_is_never_called_unasked() {
    let Some(servers) = shared("servers") else { return };
    let sandbox = Sandbox::new(json!({}));
    let tools = sandbox.path("tools.jsonl");
    annotated_tools(&servers, &tools);
    let labels = fs::read_to_string(root().join("tests/data/actions/destructive.txt")).unwrap();
    let destructive: HashSet<&str> = labels.lines().collect();
    let mut calls = 0;
    for queries in ["actions/tasks.jsonl", "golden/gate.jsonl", "golden/reported.jsonl"] {
        let mut command = over(&sandbox, &tools, queries);
        command.extend(["--decisions", "--explain"].map(str::to_owned));
        let output = sandbox.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        let told = text(&output.stdout);
        assert!(told.contains(" queries over 1895 tools"), "{}", text(&output.stderr));
        for called in told.lines().filter_map(|line| line.strip_prefix("call (")) {
            calls += 1;
            let tool = called.split([',', ')']).next().unwrap();
            assert!(!destructive.contains(tool), "{called}");
        }
    }
    assert!(calls > 10, "only {calls} calls of 640 tasks");
}
