//! After the orchestrator ends, by whatever cause, no child and no grandchild is left.
#![cfg(target_os = "linux")]

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, first_text, fixture, processes_with, wait_until};

/// Children that are hard to end. All carry a mark in their environment, which is inherited.
fn stubborn(mark: &str) -> Value {
    let fixture = fixture();
    let fixture = fixture.to_str().unwrap();
    let environment = json!({"LEAK_MARK": mark});
    let shell = |script: String| json!({"command": "sh", "args": ["-c", script], "env": environment});
    json!({
        "plain": {"command": fixture, "env": environment},
        // Ignores SIGTERM and the end of its input.
        "deaf": shell(format!("trap '' TERM; exec {fixture} --stay")),
        // The shell waits for it: two processes.
        "wrapped": shell(format!("{fixture} --stay; true")),
        // Leaves a process behind that holds its pipes.
        "parent": {"command": fixture, "args": ["--grandchild"], "env": environment},
        // A grandchild that has left the process group and ignores SIGTERM.
        "escaped": shell(format!("(trap '' TERM; setsid sleep 3600 & ); exec {fixture}"))
    })
}

/// A session in which all of them run.
fn running(mark: &str) -> (Sandbox, Session) {
    let servers = stubborn(mark);
    let sandbox = Sandbox::with_settings(servers.clone(), json!({"timeouts": {"shutdown": 0.5}}));
    let mut session = sandbox.serve();
    for server in servers.as_object().unwrap().keys() {
        let result = session.call(&format!("{server}:echo"), &json!({"message": "up"}));
        assert_eq!(first_text(&result), "up", "{server}");
    }
    // Five children, a guard for each, a shell and two sleeps.
    assert!(processes_with(mark).len() >= 12, "{:?}", processes_with(mark));
    (sandbox, session)
}

fn nothing_is_left(mark: &str) {
    wait_until("all children are gone", || processes_with(mark).is_empty().then_some(()));
}

fn signal(session: &Session, name: &str) {
    let status =
        Command::new("kill").args([format!("-{name}"), session.process.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn nothing_is_left_after_the_end_of_input() {
    let mark = "leak-eof-51c2";
    let (_sandbox, mut session) = running(mark);
    session.close();
    assert!(session.wait().success());
    // Not a moment later: they are gone before the orchestrator is.
    assert_eq!(processes_with(mark), Vec::<u32>::new());
}

#[test]
fn nothing_is_left_after_sigterm() {
    let mark = "leak-term-9e07";
    let (_sandbox, mut session) = running(mark);
    signal(&session, "TERM");
    assert!(session.wait().success());
    assert_eq!(processes_with(mark), Vec::<u32>::new());
}

#[test]
fn nothing_is_left_after_sigkill() {
    let mark = "leak-kill-d48b";
    let (_sandbox, mut session) = running(mark);
    signal(&session, "KILL");
    assert!(!session.wait().success());
    nothing_is_left(mark);
}

#[test]
fn nothing_is_left_when_it_ends_while_children_start() {
    let mark = "leak-start-77aa";
    let silent = json!({"command": fixture(), "args": ["--silent", "--stay"], "env": {"LEAK_MARK": mark}});
    let sandbox = Sandbox::with_settings(json!({"one": silent}), json!({"timeouts": {"shutdown": 0.3}}));
    let mut session = sandbox.serve();
    session.send(
        "tools/call",
        &json!({"name": "call_tool", "arguments": {"tool": "one:echo", "arguments": {"message": "x"}}}),
    );
    wait_until("the child starts", || (!processes_with(mark).is_empty()).then_some(()));
    session.close();
    session.wait();
    nothing_is_left(mark);
}
