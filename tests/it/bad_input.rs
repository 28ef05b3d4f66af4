//! Bad input gets a clear error and loses nothing.

use serde_json::{Value, json};

use crate::support::{Sandbox, child, first_text, text};

#[test]
fn a_malformed_configuration_names_file_line_and_key() {
    let sandbox = Sandbox::new(json!({}));
    sandbox.configure("{\n  \"mcpServers\": {\n    \"a\": {\"command\": 5}}}");
    for command in [&["serve"][..], &["status"], &["execute", "x"]] {
        let output = sandbox.run(command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let message = text(&output.stderr);
        assert!(message.contains("config.json:3:") && message.contains("mcpServers.a.command"), "{message}");
        assert!(output.stdout.is_empty());
    }
    let missing = sandbox.run(&["--config", "/no/such/file.json", "status"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/no/such/file.json"));
}

#[test]
fn wrong_command_lines_are_answered_with_the_remedy() {
    let sandbox = Sandbox::new(json!({"fixture": child(&[])}));
    for (arguments, problem) in [
        (&["reindex", "--server", "fixtur"][..], "did you mean \"fixture\"?"),
        (&["search", "x", "--server", "nope"], "unknown server \"nope\""),
        (&["execute", "x", "--arguments", "{"], "no JSON object"),
        (&["call", "fixture", "echo", "--arguments", "[1]"], "no object"),
        (&["model", "verify", "nope"], "known are: tool-encoder-v1, all-MiniLM-L6-v2"),
        (&["eval", "--tools", "/no/such", "--queries", "/no/such"], "cannot read /no/such"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let output = sandbox.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(problem), "{arguments:?}: {}", text(&output.stderr));
    }
    let call = sandbox.run(&["call", "fixture", "ecko"]);
    assert_eq!(call.status.code(), Some(1));
    assert!(text(&call.stdout).contains("did you mean \"fixture:echo\"?"), "{}", text(&call.stdout));
    let wrong = sandbox.run(&["call", "fixture", "echo", "--arguments", "{\"message\": 5}"]);
    assert_eq!(wrong.status.code(), Some(3));
    assert!(text(&wrong.stdout).contains("message: 5 is not of type \"string\""), "{}", text(&wrong.stdout));
}

/// A name and what it does.
type Damage<'a> = (&'a str, Box<dyn Fn() + 'a>);

#[test]
fn a_damaged_catalog_is_moved_aside_and_rebuilt() {
    let sandbox = Sandbox::new(json!({"fixture": child(&[])}));
    sandbox.json(&["reindex", "--json"]);
    let catalog = sandbox.data().join("catalog.db");
    let damages: [Damage<'_>; 3] = [
        (
            "garbage",
            Box::new(|| std::fs::write(&catalog, "this is no database at all, not even nearly").unwrap()),
        ),
        (
            "cut off",
            Box::new(|| {
                let file = std::fs::OpenOptions::new().write(true).open(&catalog).unwrap();
                file.set_len(file.metadata().unwrap().len() / 8192 * 4096).unwrap();
            }),
        ),
        (
            "another version",
            Box::new(|| {
                rusqlite::Connection::open(&catalog)
                    .unwrap()
                    .pragma_update(None, "user_version", 99)
                    .unwrap();
            }),
        ),
    ];
    for (damage, make) in damages {
        for side in ["-wal", "-shm"] {
            std::fs::remove_file(sandbox.data().join(format!("catalog.db{side}"))).ok();
        }
        make();
        let output = sandbox.run(&["reindex", "--json"]);
        assert!(output.status.success(), "{damage}: {}", text(&output.stderr));
        let warnings = text(&output.stderr);
        assert_eq!(warnings.matches("moved to").count(), 1, "{damage}: {warnings}");
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["tools"], 10, "{damage}");
        assert_eq!(sandbox.json(&["status", "--json"])["tools"], 10, "{damage}");
    }
    let kept = std::fs::read_dir(sandbox.data()).unwrap().flatten();
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().contains("damaged")).count();
    assert!(kept >= 3, "{kept} files were kept");
}

#[test]
fn a_damaged_index_is_not_used_and_written_anew() {
    let sandbox = Sandbox::new(json!({"fixture": child(&[])}));
    sandbox.json(&["reindex", "--json"]);
    let index = sandbox.data().join("catalog.index");
    let whole = std::fs::read(&index).unwrap();
    for damaged in [&b""[..], b"no index", &whole[..whole.len() / 2], &[whole.as_slice(), b"x"].concat()] {
        std::fs::write(&index, damaged).unwrap();
        let found = sandbox.json(&["search", "repeat my words", "--json"]);
        assert_eq!(found["results"][0]["tool"], "echo", "{found}");
        assert!(found["results"][0]["dense"].is_number(), "by meaning: {found}");
        sandbox.json(&["reindex", "--json"]);
        assert_eq!(std::fs::read(&index).unwrap(), whole);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_data_folder_that_cannot_be_written_stops_nothing() {
    // A file where the folder should be: also root cannot write there.
    let sandbox = Sandbox::new(json!({"fixture": child(&["--name", "still here"])}));
    std::fs::write(sandbox.data(), "in the way").unwrap();
    let output = sandbox.run(&["call", "fixture", "whoami"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("still here"));
    let warnings = text(&output.stderr);
    assert!(warnings.contains("kept in memory") && warnings.contains("audit degraded"), "{warnings}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_stops_nothing() {
    use std::process::Command;

    let sandbox = Sandbox::new(json!({"fixture": child(&["--name", "still here"])}));
    std::fs::create_dir(sandbox.data()).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k none {data} && dd if=/dev/zero of={data}/filler bs=1k 2>/dev/null; exec {program} serve",
        data = sandbox.data().display(),
        program = crate::support::orchestrator().display()
    );
    let possible =
        Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success());
    if !possible {
        return crate::support::skip("a mount namespace cannot be made here");
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]).current_dir(crate::support::root());
    command.env("ORCHESTRATOR_CONFIG", sandbox.config()).env("ORCHESTRATOR_DATA_DIR", sandbox.data());
    let mut session = crate::support::Session::start(command);
    for _ in 0..3 {
        assert_eq!(first_text(&session.call("fixture:whoami", &json!({}))), "still here");
    }
    let listed = session.tool("list_servers", &json!({}));
    assert!(listed["structuredContent"]["audit_problem"].is_string(), "{listed}");
    session.end();
}

#[test]
fn the_settings_shown_in_the_readme_are_the_defaults() {
    let readme = std::fs::read_to_string(crate::support::root().join("README.md")).unwrap();
    let block = readme
        .split("```json")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .find(|block| block.contains("\"hnswThreshold\""))
        .unwrap();
    let shown: Value = serde_json::from_str(block).unwrap();
    let parse = |text: &str| {
        let config = orchestrator::config::parse(text, std::path::Path::new("README.md"), &|_| None).unwrap();
        format!("{:#?}", config.settings)
    };
    assert_eq!(parse(&shown.to_string()), parse("{}"));
    let named: Vec<&String> = shown["orchestrator"].as_object().unwrap().keys().collect();
    // Every setting there is, so that none is hidden.
    assert_eq!(named.len(), 13, "{named:?}");
}
