//! Commands as people and scripts use them.

use serde_json::{Value, json};

use crate::support::{Sandbox, child, text};

#[test]
fn reindex_embeds_what_is_new_and_nothing_twice() {
    let sandbox = Sandbox::new(json!({"one": child(&[]), "off": {"command": "x", "disabled": true}}));
    let first = sandbox.json(&["reindex", "--json"]);
    assert_eq!(
        (&first["tools"], &first["embedded"], &first["failed"]),
        (&json!(10), &json!(10), &json!(0)),
        "{first}"
    );
    // In another process: vectors are kept over restarts.
    let second = sandbox.json(&["reindex", "--json"]);
    assert_eq!((&second["tools"], &second["embedded"]), (&json!(10), &json!(0)), "{second}");
    let forced = sandbox.json(&["reindex", "--json", "--force", "--server", "one"]);
    assert_eq!(forced["embedded"], 10, "{forced}");
    let status = sandbox.json(&["status", "--json"]);
    assert_eq!(status["tools"], 10);
    let servers: Vec<&Value> =
        status["servers"].as_array().unwrap().iter().map(|server| &server["state"]).collect();
    assert_eq!(servers, ["disabled", "idle"]);
}

#[test]
fn a_server_of_another_program_does_not_show_the_old_tools() {
    let sandbox = Sandbox::new(json!({"one": child(&[])}));
    sandbox.json(&["reindex", "--json"]);
    sandbox.configure(&json!({"mcpServers": {"one": child(&["--name", "other"])}}).to_string());
    assert_eq!(sandbox.json(&["status", "--json"])["tools"], 0);
}

#[test]
fn reindex_tells_of_servers_that_fail_and_indexes_the_others() {
    let sandbox = Sandbox::new(json!({"good": child(&[]), "bad": child(&["--exit", "4"])}));
    let output = sandbox.run(&["reindex"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("1 server with 10 tools indexed"), "{}", text(&output.stdout));
    let problems = text(&output.stderr);
    assert!(problems.contains("\"bad\"") && problems.contains("cannot find the database"), "{problems}");
}

#[test]
fn exit_codes_tell_how_a_task_ended() {
    let sandbox = Sandbox::new(json!({"fixture": child(&["--name", "me"])}));
    sandbox.json(&["reindex", "--json"]);
    for (arguments, code) in [
        (&["call", "fixture", "whoami"][..], 0),
        (&["call", "fixture", "fail"], 1),
        (&["call", "fixture", "refuse"], 1),
        (&["call", "fixture", "echo"], 3),
        (&["execute", "tell me the name of this fixture"], 0),
        (&["execute", "wait for some milliseconds then answer with a token"], 3),
        (&["execute", "tell me the name of this fixture", "--dry-run"], 0),
    ] {
        let output = sandbox.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stdout));
    }
    let done = sandbox.json(&["execute", "tell me the name of this fixture", "--json"]);
    assert_eq!(
        (&done["status"], &done["server"], &done["tool"]),
        (&json!("done"), &json!("fixture"), &json!("whoami"))
    );
    assert_eq!(done["result"]["content"][0]["text"], "me");
}

#[test]
fn help_teaches_and_completions_are_made() {
    let sandbox = Sandbox::new(json!({}));
    let help = text(&sandbox.run(&["--help"]).stdout);
    for command in
        ["serve", "reindex", "search", "execute", "call", "status", "audit", "model", "eval", "completions"]
    {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing in\n{help}");
    }
    assert!(help.contains("Exit codes"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&sandbox.run(&["completions", shell]).stdout).contains("orchestrator"));
    }
}

#[test]
fn eval_prints_every_metric() {
    let sandbox = Sandbox::new(json!({}));
    let (tools, queries) = (sandbox.path("tools.jsonl"), sandbox.path("queries.jsonl"));
    let tool = |server: &str, name: &str, description: &str| {
        json!({"server": server, "name": name, "description": description, "inputSchema": {"type": "object"}})
            .to_string()
    };
    let lines = [
        tool("files", "read_file", "Read a file"),
        tool("weather", "forecast", "Tell the weather of the next days"),
    ];
    std::fs::write(&tools, lines.join("\n")).unwrap();
    let lines = [
        json!({"query": "will it rain tomorrow", "relevant": [["weather:forecast"]], "split": "plain"}),
        json!({"query": "open the document and show it", "relevant": [["files:read_file"]]}),
        json!({"query": "marry me", "relevant": [], "split": "none"}),
    ];
    std::fs::write(&queries, lines.map(|line| line.to_string()).join("\n")).unwrap();
    let (tools, queries) = (tools.to_str().unwrap(), queries.to_str().unwrap());
    let vectors = sandbox.path("vectors.db");
    let vectors = vectors.to_str().unwrap();
    let command =
        ["eval", "--json", "--tools", tools, "--queries", queries, "--vectors", vectors, "--intervals"];
    let measured = sandbox.json(&command);
    assert_eq!(
        (&measured["queries"], &measured["tools"], &measured["h1"]),
        (&json!(3), &json!(2), &json!(1.0)),
        "{measured}"
    );
    for metric in ["h5", "r5", "r10", "ndcg5", "mrr", "server_h1", "ece", "none_auroc"] {
        assert!(measured[metric].is_f64(), "{metric}: {measured}");
    }
    assert_eq!(measured["servers"], json!({"h1": 1.0, "r5": 1.0}), "{measured}");
    let splits = measured["splits"].as_object().unwrap();
    assert_eq!(splits.keys().collect::<Vec<_>>(), ["plain"], "a part in which nothing fits has no figures");
    assert_eq!((&splits["plain"]["queries"], &splits["plain"]["h1"]), (&json!(1), &json!(1.0)));
    assert_eq!(measured["intervals"]["h1"], json!([1.0, 1.0]), "{measured}");
    // The second time with the vectors of the first, which change nothing.
    let again = sandbox.json(&command);
    assert_eq!((&again["mrr"], &again["ece"]), (&measured["mrr"], &measured["ece"]));
}

#[test]
fn eval_tells_how_well_arguments_are_filled_in() {
    let sandbox = Sandbox::new(json!({}));
    let (tools, queries) = (sandbox.path("tools.jsonl"), sandbox.path("queries.jsonl"));
    let schema = json!({"type": "object", "required": ["song_name"], "properties": {
        "song_name": {"type": "string", "description": "The name of the song"}}});
    let tool =
        json!({"server": "music", "name": "play_song", "description": "Play a song", "inputSchema": schema});
    std::fs::write(&tools, tool.to_string()).unwrap();
    let line = |query: &str, song: &str| {
        json!({"query": query, "relevant": [["music:play_song"]], "arguments": {"song_name": song}})
            .to_string()
    };
    let lines = [
        line("Play the song \"Midnight City\"", "midnight city"),
        line("Play the song \"Imagine\"", "Another"),
        line("Play something", "Jolene"),
    ];
    std::fs::write(&queries, lines.join("\n")).unwrap();
    let files = ["--tools", tools.to_str().unwrap(), "--queries", queries.to_str().unwrap()];
    let measured =
        sandbox.json(&[&["eval", "--json", "--mode", "lexical", "--arguments"], &files[..]].concat());
    let figure = |name: &str| measured[name].as_f64().unwrap();
    assert!((figure("args_exact") - 1.0 / 3.0).abs() < 1e-9, "{measured}");
    assert!((figure("args_coverage") - 2.0 / 3.0).abs() < 1e-9, "{measured}");
    assert!((figure("args_precision") - 0.5).abs() < 1e-9, "{measured}");
    assert!((figure("joint_args_exact") - 1.0 / 3.0).abs() < 1e-9, "{measured}");
}

#[test]
fn two_rankings_are_compared_query_by_query_and_what_is_lost_is_explained() {
    let sandbox = Sandbox::new(json!({}));
    let write = |name: &str, lines: &[serde_json::Value]| {
        let file = sandbox.path(name);
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let tool = |name: &str, description: &str| json!({"server": "files", "name": name, "description": description, "inputSchema": {"type": "object"}});
    let tools = write("tools.jsonl", &[tool("read", "Read the file"), tool("delete", "Delete the file")]);
    let lines = [
        json!({"query": "read the file", "relevant": [["files:read"]]}),
        json!({"query": "delete the file", "relevant": [["files:read"]]}),
        json!({"query": "marry me", "relevant": []}),
    ];
    let queries = write("queries.jsonl", &lines);
    let outcomes = sandbox.path("outcomes.jsonl");
    let outcomes = outcomes.to_str().unwrap();
    let command = ["eval", "--mode", "lexical", "--tools", &tools, "--queries", &queries];
    let shown = sandbox.run(&[&command[..], &["--explain", "--outcomes", outcomes]].concat());
    let shown = String::from_utf8(shown.stdout).unwrap();
    let lost: Vec<&str> = shown.lines().take(3).map(str::trim).collect();
    assert!(lost[0] == "delete the file" && lost[1].starts_with("1       files:delete"), "{shown}");
    assert!(lost[2].starts_with("2 right files:read"), "{shown}");

    let compared = sandbox.json(&[&command[..], &["--json", "--compare", outcomes]].concat());
    assert_eq!(compared["queries"], 2, "only those for which something is right");
    assert_eq!(compared["compared"]["h1"], json!({"then": 0.5, "now": 0.5, "p": 1.0}));
    let other = write("other.jsonl", &[json!({"query": "another", "figures": [0, 0, 0, 0, 0, 0, 0]})]);
    let refused = sandbox.run(&[&command[..], &["--compare", &other]].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("other.jsonl has none of these queries"));
}

#[test]
fn the_model_is_listed_and_verified() {
    let sandbox = Sandbox::new(json!({}));
    let listed = sandbox.json(&["model", "list", "--json"]);
    assert_eq!(listed["models"][0]["name"], "tool-encoder-v1");
    assert_eq!(listed["models"][0]["folder"], "the program itself");
    assert_eq!(listed["models"][1]["name"], "all-MiniLM-L6-v2");
    let verified = sandbox.json(&["model", "verify", "--json"]);
    assert_eq!(verified["ok"], true);
    assert_eq!(verified["files"].as_array().unwrap().len(), 6);
}

#[test]
fn a_call_keeps_the_list_and_no_argument_values() {
    let sandbox =
        Sandbox::with_settings(json!({"one": child(&["--name", "me"])}), json!({"model": "/no/model"}));
    assert!(sandbox.run(&["call", "one", "whoami"]).status.success());
    assert_eq!(sandbox.json(&["status", "--json"])["tools"], 10, "the first connection's list is kept");
    let secret = "hunter2";
    for arguments in
        [format!("{{\"message\": {{\"password\": \"{secret}\"}}}}"), format!("{{\"message\": \"{secret}\"}}")]
    {
        sandbox.run(&["call", "one", "echo", "--arguments", &arguments]);
    }
    for file in std::fs::read_dir(sandbox.data()).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let bytes = std::fs::read(file.path()).unwrap();
        assert!(!text(&bytes).contains(secret), "{} holds an argument", file.path().display());
    }
    assert!(sandbox.json(&["audit", "--json"]).to_string().contains("arguments do not fit: message"));
}
