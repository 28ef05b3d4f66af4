//! Tools taught by the model of a real client, the Python SDK's: by sampling, and by the prompt
//! `teach`. The model is a table in `tests/fixtures/teaching_client.py`.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Sandbox, child, orchestrator, root, skip, text};

const PYTHON: &str = ".servers/venv/bin/python";

/// Tools of the fixture, none of which the shipped pack teaches.
const TOOLS: [&str; 10] =
    ["echo", "whoami", "sleep", "environment", "rich", "fail", "refuse", "crash", "grow", "erase"];

/// Whether all that these tests need is there; says what is not.
fn is_ready() -> bool {
    let there = root().join(PYTHON).is_file();
    if !there {
        skip("no Python SDK; scripts/install-servers.sh installs it");
    }
    there
}

/// The fixture behind an orchestrator with these settings of `examples`.
fn sandbox(examples: Value) -> Sandbox {
    Sandbox::with_settings(
        json!({"fixture": child(&["--name", "to be taught"])}),
        json!({"examples": examples}),
    )
}

/// Starts the client in one of its scenarios.
fn start(sandbox: &Sandbox, scenario: &str) -> Child {
    Command::new(root().join(PYTHON))
        .arg(root().join("tests/fixtures/teaching_client.py"))
        .args([orchestrator().as_os_str(), sandbox.config().as_os_str(), sandbox.data().as_os_str()])
        .arg(scenario)
        .current_dir(root())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the client saw.
fn seen(client: Child) -> Value {
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn examples(sandbox: &Sandbox) -> Vec<Value> {
    let listed = sandbox.json(&["examples", "list", "--json"]);
    listed["examples"].as_array().unwrap().clone()
}

/// Every tool of the fixture has both tasks of the table, from the host, and the client's own task,
/// which is in other words, leads where it was taught.
fn assert_taught(sandbox: &Sandbox, seen: &Value) {
    let kept: Vec<Value> =
        examples(sandbox).into_iter().filter(|example| example["state"] == "kept").collect();
    assert_eq!(kept.len(), 2 * TOOLS.len(), "{kept:#?}");
    assert!(kept.iter().all(|example| example["source"] == "host" && example["server"] == "fixture"));
    for tool in TOOLS {
        assert_eq!(kept.iter().filter(|example| example["tool"] == tool).count(), 2, "{tool}");
    }
    assert_ne!(seen["before"]["tool"], "fail", "not sure enough before: {seen}");
    assert_eq!(
        seen["after"],
        json!({"found": "fail", "status": "needs_confirmation", "tool": "fail"}),
        "{seen}"
    );
}

#[test]
fn the_hosts_model_teaches_tools_once_the_user_agreed() {
    if !is_ready() {
        return;
    }
    let (asking, on) = (sandbox(json!({"sampling": "ask"})), sandbox(json!({"sampling": "on"})));
    let clients = [start(&asking, "accept"), start(&on, "accept")];
    let [asked, unasked] = clients.map(seen);
    assert_taught(&asking, &asked);
    assert_taught(&on, &unasked);
    // One question for all; the model is asked for each tool once, and not before the user's own work.
    let questions = asked["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 1, "{asked}");
    assert!(questions[0].as_str().unwrap().starts_with("10 connected tools have no example tasks yet."));
    assert_eq!(unasked["questions"], json!([]));
    for seen in [&asked, &unasked] {
        let batches: Vec<&Value> =
            seen["batches"].as_array().unwrap().iter().flat_map(|batch| batch.as_array().unwrap()).collect();
        assert_eq!(batches, TOOLS.map(|tool| json!(format!("fixture:{tool}"))).each_ref());
        assert!(seen["asked_after"].as_f64().unwrap() >= 3.0, "{seen}");
    }
}

#[test]
fn nobody_asks_the_hosts_model_without_leave() {
    if !is_ready() {
        return;
    }
    // Settings, the client's scenario, and how often its user is asked.
    let cases = [
        (json!({"sampling": "ask"}), "decline", 1),
        (json!({"sampling": "ask"}), "cancel", 1),
        (json!({"sampling": "off"}), "patient", 0),
        (json!({"sampling": "ask"}), "mute", 0),
        (json!({"sampling": "on"}), "modern", 0),
        (json!({"sampling": "ask", "samplingCallsPerHour": 0}), "patient", 0),
    ];
    let running = cases.map(|(settings, scenario, questions)| {
        let sandbox = sandbox(settings.clone());
        let client = start(&sandbox, scenario);
        (format!("{settings} {scenario}"), sandbox, client, questions)
    });
    for (case, sandbox, client, questions) in running {
        let seen = seen(client);
        assert_eq!(seen["questions"].as_array().unwrap().len(), questions, "{case}: {seen}");
        assert_eq!(seen["batches"], json!([]), "{case}: {seen}");
        assert_eq!(examples(&sandbox), Vec::<Value>::new(), "{case}");
        assert_eq!(seen["protocol"] == "2026-07-28", case.ends_with("modern"), "{case}: {seen}");
    }
}

#[test]
fn the_hosts_model_is_asked_within_its_budget() {
    if !is_ready() {
        return;
    }
    let sandbox = sandbox(json!({"sampling": "on", "samplingCallsPerHour": 1}));
    let seen = seen(start(&sandbox, "patient"));
    assert_eq!(seen["batches"].as_array().unwrap().len(), 1, "{seen}");
    assert_eq!(examples(&sandbox).len(), 2 * seen["batches"][0].as_array().unwrap().len());
}

#[test]
fn a_model_that_follows_the_prompt_teaches_the_tools_of_a_server() {
    if !is_ready() {
        return;
    }
    let sandbox = sandbox(json!({}));
    // A second server, which nobody asks to teach.
    let listing = json!({"tools": [{
        "name": "dispatch_unit", "description": "Send a patrol to an address", "inputSchema": {"type": "object"}
    }]});
    std::fs::write(sandbox.path("listing.json"), listing.to_string()).unwrap();
    let other = sandbox.path("listing.json");
    let servers = json!({"fixture": child(&[]), "other": child(&["--listing", other.to_str().unwrap()])});
    sandbox.configure(&json!({"mcpServers": servers}).to_string());

    let seen = seen(start(&sandbox, "prompt"));
    assert_eq!(seen["prompts"], json!({"teach": ["server", "language"]}));
    let in_german = seen["in_german"].as_str().unwrap();
    assert!(
        in_german.starts_with("Tools that have no examples yet: 11.") && in_german.contains("in German.")
    );
    assert_eq!(
        seen["look"],
        json!({"tool": "orchestrator:untaught_tools", "arguments": {"server": "fixture"}})
    );
    let [first, last] = seen["shown"].as_array().unwrap().as_slice() else { panic!("{seen}") };
    let first = first.as_str().unwrap();
    assert!(
        first.starts_with("Tools that have no examples yet: 10.") && !first.contains("other:"),
        "{first}"
    );
    assert!(first.contains(r#"{"tool":"fixture:echo","description":"Repeat a message word for word","parameters":["message","times"]}"#));
    assert_eq!(last, "Every tool has examples.");
    // What is of no use is told with the reason; what is known already is no harm.
    assert_eq!(
        seen["taken"],
        json!([
            "Examples that are used: 20. Tools that have none yet: 1.\nSet aside:\n\
             - fixture:whoami \"whoami\": it says no more than the tool's name\n\
             - fixture:nope \"do it\": there is no such tool",
            "Examples that are used: 2. Tools that have none yet: 1."
        ])
    );
    assert_taught(&sandbox, &seen);
    let places = seen["word_for_word"].as_object().unwrap();
    assert!(
        places.len() == TOOLS.len() && places.iter().all(|(taught, found)| found == taught),
        "{places:?}"
    );
    let doubtful = examples(&sandbox).into_iter().find(|example| example["state"] == "doubtful").unwrap();
    assert_eq!((&doubtful["tool"], &doubtful["text"]), (&json!("whoami"), &json!("whoami")));
}
