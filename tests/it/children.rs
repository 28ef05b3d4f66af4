//! Children as the pool handles them: one process each, calls kept apart, idle ones ended, lists
//! followed, faults kept to the one that has them.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, child, first_text, processes_with, wait_until};

#[test]
fn two_hundred_first_calls_start_one_process() {
    let starts = tempfile::NamedTempFile::new().unwrap();
    let file = starts.path().to_str().unwrap();
    let sandbox = Sandbox::new(json!({"one": child(&["--starts", file])}));
    let mut session = sandbox.serve();
    let ids: Vec<u64> = (0..200)
        .map(|number| {
            let arguments = json!({"tool": "one:echo", "arguments": {"message": format!("m{number}")}});
            session.send("tools/call", &json!({"name": "call_tool", "arguments": arguments}))
        })
        .collect();
    for (number, id) in ids.into_iter().enumerate() {
        assert_eq!(first_text(&session.answer(id)["result"]), format!("m{number}"));
    }
    assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 1);
    session.end();
}

#[test]
fn a_thousand_calls_over_five_servers_get_their_own_answers() {
    let names = ["ada", "bob", "cy", "dee", "eve"];
    let servers: Value = names
        .iter()
        .map(|name| ((*name).to_owned(), child(&["--name", name])))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let sandbox = Sandbox::new(servers);
    let mut session = sandbox.serve();
    let sent: Vec<(u64, String)> = (0..1000)
        .map(|number: usize| {
            let server = names[number % names.len()];
            let token = format!("{server}-{number}");
            // Answers come back in another order than the calls went out.
            let arguments = json!({"ms": (number * 7) % 40, "token": token});
            let call = json!({"tool": format!("{server}:sleep"), "arguments": arguments});
            (session.send("tools/call", &json!({"name": "call_tool", "arguments": call})), token)
        })
        .collect();
    let mut seen = HashSet::new();
    for (id, token) in sent {
        let answer = session.answer(id);
        assert_eq!(first_text(&answer["result"]), token);
        assert_eq!(answer["result"]["_meta"]["orchestrator"]["server"], token.split('-').next().unwrap());
        assert!(seen.insert(token));
    }
    session.end();
}

#[test]
fn an_idle_child_is_ended_and_one_with_a_call_in_flight_is_not() {
    let mark = "idle-test-7f3a";
    let settings = json!({"timeouts": {"idle": 0.3}});
    let sandbox = Sandbox::with_settings(json!({"one": child(&["--name", mark])}), settings);
    let mut session = sandbox.serve();
    // Longer than the idle time: it must not be taken for idle.
    let result = session.call("one:sleep", &json!({"ms": 1200, "token": "done"}));
    assert_eq!(first_text(&result), "done");
    wait_until("the idle child ends", || processes_with(mark).is_empty().then_some(()));
    // And it comes back when it is needed.
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), mark);
    session.end();
}

#[test]
fn a_changed_tool_list_is_followed_while_serving() {
    let sandbox = Sandbox::new(json!({"one": child(&[])}));
    let mut session = sandbox.serve();
    assert_eq!(first_text(&session.call("one:grow", &json!({}))), "grown");
    wait_until("the new tool is listed", || {
        let listed = session.tool("list_servers", &json!({"server": "one"}));
        let tools = listed["structuredContent"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().any(|tool| tool["tool"] == "later").then_some(())
    });
    assert_eq!(first_text(&session.call("later", &json!({}))), "full moon");
    session.end();
}

#[test]
fn all_pages_are_read_and_a_repeated_cursor_ends_the_list() {
    let sandbox = Sandbox::new(json!({
        "paged": child(&["--pages", "4"]), "endless": child(&["--repeat-cursor"])
    }));
    let mut session = sandbox.serve();
    for server in ["paged", "endless"] {
        assert_eq!(first_text(&session.call(&format!("{server}:echo"), &json!({"message": "x"}))), "x");
        assert_eq!(tool_count(&mut session, server), 10);
    }
    session.end();
}

fn tool_count(session: &mut Session, server: &str) -> u64 {
    wait_until("the tools are known", || {
        let listed = session.tool("list_servers", &json!({"server": server}));
        listed["structuredContent"]["servers"][0]["tools"].as_u64()
    })
}

#[test]
fn sick_children_harm_nobody_else() {
    let timeouts = json!({"timeouts": {"handshake": 1.0, "list": 1.0, "shutdown": 0.3}});
    let sandbox = Sandbox::with_settings(
        json!({
            "healthy": child(&["--name", "healthy"]),
            "junk": child(&["--junk", "--name", "junk"]),
            "silent": child(&["--silent"]),
            "listless": child(&["--silent-list"]),
            "gone": child(&["--exit", "7"]),
            "missing": {"command": "no-such-program-at-all"},
            "folderless": {"command": "sh", "cwd": "/no/such/folder"}
        }),
        timeouts,
    );
    let mut session = sandbox.serve();
    let sick = [
        ("silent", "did not answer initialize within 1 s"),
        ("listless", "did not answer tools/list within 1 s"),
        ("gone", "cannot find the database"),
        ("missing", "\"no-such-program-at-all\" was not found"),
        ("folderless", "/no/such/folder is not a folder"),
    ];
    let waiting: Vec<u64> = sick
        .iter()
        .map(|(server, _)| {
            let call = json!({"tool": format!("{server}:echo"), "arguments": {"message": "x"}});
            session.send("tools/call", &json!({"name": "call_tool", "arguments": call}))
        })
        .collect();
    // While they fail, the others answer.
    for server in ["healthy", "junk"] {
        assert_eq!(first_text(&session.call(&format!("{server}:whoami"), &json!({}))), server);
    }
    for ((server, reason), id) in sick.iter().zip(waiting) {
        let result = session.answer(id)["result"].clone();
        assert_eq!(result["isError"], true, "{server}");
        assert!(first_text(&result).contains(reason), "{server}: {}", first_text(&result));
    }
    let gone = session.call("gone:echo", &json!({"message": "x"}));
    assert!(first_text(&gone).contains("exit status: 7"), "{}", first_text(&gone));
    session.end();
}

#[test]
fn a_crash_fails_its_own_call_and_the_next_call_starts_anew() {
    let sandbox = Sandbox::new(json!({"one": child(&["--name", "one"])}));
    let mut session = sandbox.serve();
    let crashed = session.call("one:crash", &json!({}));
    assert_eq!(crashed["isError"], true);
    assert!(first_text(&crashed).contains("its outcome is unknown"), "{}", first_text(&crashed));
    assert!(first_text(&crashed).contains("out of cheese"), "{}", first_text(&crashed));
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    session.end();
}

#[test]
fn a_call_without_an_answer_has_a_deadline_and_its_late_answer_is_dropped() {
    let settings = json!({"timeouts": {"call": 0.5}});
    let sandbox = Sandbox::with_settings(json!({"one": child(&["--name", "one"])}), settings);
    let mut session = sandbox.serve();
    let late = session.call("one:sleep", &json!({"ms": 1500, "token": "late"}));
    assert_eq!(late["isError"], true);
    assert!(first_text(&late).contains("one:sleep did not answer within 0.5 s"), "{}", first_text(&late));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    session.end();
}

#[test]
fn a_child_sees_its_own_environment_and_nobody_elses() {
    let one = json!({"command": crate::support::fixture(), "env": {"ONE_SECRET": "s-one"}});
    let two = json!({"command": crate::support::fixture(), "env": {"TWO_SECRET": "${TEST_SECRET}"}});
    let sandbox = Sandbox::new(json!({"one": one, "two": two}));
    let mut command = sandbox.command(&["serve"]);
    command.env("TEST_SECRET", "s-two").env("ORCHESTRATOR_ONLY", "s-own");
    let mut session = Session::start(command);
    let environment = |session: &mut Session, server: &str| -> Value {
        let result = session.call(&format!("{server}:environment"), &json!({}));
        serde_json::from_str(first_text(&result)).unwrap()
    };
    let (one, two) = (environment(&mut session, "one"), environment(&mut session, "two"));
    assert_eq!((&one["ONE_SECRET"], &two["TWO_SECRET"]), (&json!("s-one"), &json!("s-two")));
    assert!(one["PATH"].is_string());
    let (one, two) = (one.to_string(), two.to_string());
    assert!(!one.contains("s-two") && !one.contains("s-own"), "{one}");
    assert!(!two.contains("s-one") && !two.contains("s-own"), "{two}");
    // Nor is a secret on any command line.
    for pid in processes_with("fixture-server") {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!crate::support::text(&line).contains("s-two"));
    }
    session.end();
}

#[test]
fn a_child_that_reads_nothing_has_a_deadline_too() {
    let settings = json!({"timeouts": {"call": 0.5, "shutdown": 0.3}});
    let sandbox = Sandbox::with_settings(json!({"one": child(&["--deaf"])}), settings);
    let mut session = sandbox.serve();
    // More than a pipe holds, so that writing blocks.
    let long = "x".repeat(400_000);
    for _ in 0..2 {
        let result = session.call("one:echo", &json!({"message": long}));
        assert!(first_text(&result).contains("did not answer within 0.5 s"), "{}", first_text(&result));
    }
    session.end();
}

#[test]
fn slow_starts_hold_up_no_other_server() {
    let silent = || child(&["--silent"]);
    let servers = json!({
        "a": silent(), "b": silent(), "c": silent(), "d": silent(), "e": silent(),
        "healthy": child(&["--name", "healthy"])
    });
    let settings = json!({"timeouts": {"handshake": 30.0, "shutdown": 0.3}});
    let sandbox = Sandbox::with_settings(servers, settings);
    let mut session = sandbox.serve();
    for server in ["a", "b", "c", "d", "e"] {
        let call = json!({"tool": format!("{server}:echo"), "arguments": {"message": "x"}});
        session.send("tools/call", &json!({"name": "call_tool", "arguments": call}));
    }
    let started = std::time::Instant::now();
    assert_eq!(first_text(&session.call("healthy:whoami", &json!({}))), "healthy");
    assert!(started.elapsed().as_secs() < 25, "it waited for the others");
    session.end();
}

#[test]
fn one_server_never_has_two_processes() {
    let starts = tempfile::NamedTempFile::new().unwrap();
    let file = starts.path().to_str().unwrap();
    let settings = json!({"timeouts": {"idle": 0.2, "shutdown": 1.0}});
    // It ignores the end of its input, so that ending it takes a second.
    let sandbox = Sandbox::with_settings(json!({"one": child(&["--stay", "--starts", file])}), settings);
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    std::thread::sleep(std::time::Duration::from_millis(500));
    session.call("one:whoami", &json!({}));
    let pids: Vec<u32> =
        std::fs::read_to_string(file).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2, "it was ended for idleness and started again");
    assert!(!std::path::Path::new(&format!("/proc/{}", pids[0])).exists(), "the first is gone");
    session.end();
}

#[test]
fn what_another_process_indexes_is_seen() {
    let sandbox = Sandbox::with_settings(json!({"one": child(&[])}), json!({"model": "/no/model"}));
    let mut session = sandbox.serve();
    assert!(sandbox.run(&["reindex"]).status.success());
    wait_until("the session sees the tools", || {
        let listed = session.tool("list_servers", &json!({"server": "one"}));
        (listed["structuredContent"]["servers"][0]["tools"] == 10).then_some(())
    });
    session.end();
}
