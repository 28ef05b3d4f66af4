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

#[test]
fn a_killed_guard_is_noticed_and_what_it_guarded_goes_with_it() {
    let mark = "leak-guard-3c1d";
    let (_sandbox, mut session) = running(mark);
    let state = |session: &mut Session, server: &str| {
        session.tool("list_servers", &json!({"server": server}))["structuredContent"]["servers"][0].clone()
    };
    let before = processes_with(mark);
    for server in ["plain", "deaf", "wrapped", "parent", "escaped"] {
        let guard = state(&mut session, server)["pid"].as_u64().unwrap();
        assert!(Command::new("kill").args(["-KILL", &guard.to_string()]).status().unwrap().success());
        wait_until("a new child runs", || {
            let now = state(&mut session, server);
            (now["state"] == "ready" && now["pid"] != guard).then_some(())
        });
        let result = session.call(&format!("{server}:echo"), &json!({"message": "again"}));
        assert_eq!(first_text(&result), "again", "{server}");
    }
    wait_until("all of before are gone", || {
        let now = processes_with(mark);
        before.iter().all(|pid| !now.contains(pid)).then_some(())
    });
    session.end();
    assert_eq!(processes_with(mark), Vec::<u32>::new());
}

#[test]
fn a_tree_below_a_thread_of_a_dead_leader_is_found() {
    let mark = "leak-leader-60fe";
    // Its first thread ends while another goes on: in /proc it looks dead, and its children do not.
    let script = "import ctypes, subprocess, threading, time\n\
        threading.Thread(target=lambda: (subprocess.Popen(['sleep', '3600']), time.sleep(3600))).start()\n\
        time.sleep(0.5)\n\
        ctypes.CDLL(None).pthread_exit(None)";
    let fixture = fixture();
    let fixture = fixture.to_str().unwrap();
    let program = format!("python3 -c \"$SCRIPT\" </dev/null >/dev/null 2>&1 & exec {fixture}");
    let server =
        json!({"command": "sh", "args": ["-c", program], "env": {"LEAK_MARK": mark, "SCRIPT": script}});
    let sandbox = Sandbox::with_settings(json!({"one": server}), json!({"timeouts": {"shutdown": 0.5}}));
    let mut session = sandbox.serve();
    session.call("one:echo", &json!({"message": "up"}));
    // The guard, the fixture, a Python whose leader is gone, and its sleep.
    let looks_dead = |pid: &u32| {
        let stat = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let own = stat(&pid.to_string());
        let parent = own.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)).unwrap_or("0");
        own.contains("(sleep)") && stat(parent).contains(") Z ")
    };
    wait_until("it runs", || processes_with(mark).iter().any(looks_dead).then_some(()));
    signal(&session, "KILL");
    assert!(!session.wait().success());
    nothing_is_left(mark);
}
