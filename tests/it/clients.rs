//! Real third-party clients in front of `orchestrator serve`: the official inspector and the Python
//! SDK.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Sandbox, child, orchestrator, root, skip, text};

const INSPECTOR: &str = ".servers/npm/node_modules/@modelcontextprotocol/inspector/cli/build/cli.js";
const PYTHON: &str = ".servers/venv/bin/python";

fn sandbox() -> Sandbox {
    Sandbox::new(json!({"fixture": child(&["--name", "seen by a client"])}))
}

#[test]
fn the_inspector_lists_and_calls() {
    let cli = root().join(INSPECTOR);
    if !cli.is_file() {
        return skip("no inspector; scripts/install-servers.sh --clients installs it");
    }
    let sandbox = sandbox();
    let inspect = |arguments: &[&str]| -> Value {
        let output = Command::new("node")
            .arg(&cli)
            .arg("--cli")
            .args(["-e", &format!("ORCHESTRATOR_CONFIG={}", sandbox.config().display())])
            .args(["-e", &format!("ORCHESTRATOR_DATA_DIR={}", sandbox.data().display())])
            .arg(orchestrator())
            .arg("serve")
            .args(arguments)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr)))
    };
    let tools = inspect(&["--method", "tools/list"]);
    assert_eq!(tools["tools"].as_array().unwrap().len(), 4);
    let result = inspect(&[
        "--method",
        "tools/call",
        "--tool-name",
        "call_tool",
        "--tool-arg",
        "tool=fixture:whoami",
        "--tool-arg",
        "arguments={}",
    ]);
    assert_eq!(result["content"][0]["text"], "seen by a client", "{result}");
    let listed = inspect(&["--method", "tools/call", "--tool-name", "list_servers"]);
    assert_eq!(listed["structuredContent"]["servers"][0]["server"], "fixture", "{listed}");
}

#[test]
fn the_python_sdk_lists_and_calls() {
    let python = root().join(PYTHON);
    if !python.is_file() {
        return skip("no Python SDK; scripts/install-servers.sh installs it");
    }
    let sandbox = sandbox();
    let output = Command::new(python)
        .arg(root().join("tests/fixtures/client.py"))
        .args([orchestrator().as_os_str(), sandbox.config().as_os_str(), sandbox.data().as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["tools"], json!(["execute", "search_tools", "call_tool", "list_servers"]));
    assert_eq!(seen["whoami"], "seen by a client");
    assert_eq!(seen["rich"], json!({"answer": 9_007_199_254_740_993_u64, "status": "mine"}));
    assert_eq!(seen["needs"], "needs_arguments");
    assert_eq!(seen["servers"], json!(["fixture"]));
}
