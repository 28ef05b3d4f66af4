//! Faults of children, one test for each promise. Names begin with the row of the fault catalogue that
//! RELIABILITY.md lists; `scripts/fault_matrix.sh` goes through all vices in all phases.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, child, first_text, hostile, processes_with, wait_until};

/// Short deadlines, no model.
fn settings(more: &Value) -> Value {
    let mut settings = json!({
        "model": "/no/model",
        "timeouts": {"discover": 0.5, "handshake": 5, "list": 5, "call": 5, "shutdown": 0.3},
        "restart": {"initialBackoff": 0.02, "maxBackoff": 0.2}
    });
    for (key, value) in more.as_object().unwrap() {
        for (name, inner) in value.as_object().unwrap() {
            settings[key][name] = inner.clone();
        }
    }
    settings
}

fn serve(servers: Value, more: &Value) -> (Sandbox, Session) {
    let sandbox = Sandbox::with_settings(servers, settings(more));
    let session = sandbox.serve();
    (sandbox, session)
}

/// What `list_servers` says of one server.
fn status(session: &mut Session, server: &str) -> Value {
    let listed = session.tool("list_servers", &json!({"server": server}));
    listed["structuredContent"]["servers"][0].clone()
}

fn state_file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state");
    (folder, file)
}

/// Lines of a hostile child's state file that begin so.
fn count(file: &Path, beginning: &str) -> usize {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(beginning)).count()
}

#[test]
fn a7_a_full_queue_answers_busy_at_once_and_holds_up_no_other() {
    let servers = json!({"slow": child(&["--name", "slow"]), "other": child(&["--name", "other"])});
    let (_sandbox, mut session) =
        serve(servers, &json!({"limits": {"concurrentCalls": 4, "queuedCalls": 8}}));
    session.call("slow:whoami", &json!({}));
    let ids: Vec<u64> =
        (0..100).map(|_| session.begin_call("slow:sleep", &json!({"ms": 1500, "token": "slept"}))).collect();
    assert_eq!(first_text(&session.call("other:whoami", &json!({}))), "other");
    let answers: Vec<Value> = ids.into_iter().map(|id| session.answer(id)["result"].clone()).collect();
    let busy: Vec<&Value> = answers.iter().filter(|answer| answer["isError"] == true).collect();
    assert_eq!(busy.len(), 100 - 12, "4 under way and 8 waiting are served");
    for answer in busy {
        let text = first_text(answer);
        assert_eq!(text, "server \"slow\" is busy: 4 calls are under way and 8 wait; try again later");
    }
    session.end();
}

#[test]
fn b1_a_server_that_keeps_failing_is_given_up_until_the_user_restarts_it() {
    let (_folder, state) = state_file();
    let file = state.to_str().unwrap();
    // It fails for a while, then all is well: as after the user mended it. The first of five attempts
    // takes two starts, for it might have been `server/discover` that it could not bear.
    let sick = hostile(&["--vice", "exit-1", "--times", "7", "--state", file, "--name", "sick"]);
    let (_sandbox, mut session) = serve(json!({"sick": sick}), &json!({"breaker": {"consecutive": 100}}));
    for _ in 0..5 {
        let answer = session.call("sick:echo", &json!({"message": "x"}));
        assert!(first_text(&answer).contains("cannot find the database"), "{}", first_text(&answer));
    }
    let status_now = status(&mut session, "sick");
    assert_eq!((&status_now["state"], &status_now["failures"]), (&json!("failed"), &json!(5)));
    for _ in 0..3 {
        let answer = session.call("sick:echo", &json!({"message": "x"}));
        assert!(first_text(&answer).contains("given up after 5 failures"), "{}", first_text(&answer));
        assert!(first_text(&answer).contains("orchestrator:restart_server"));
    }
    assert_eq!(count(&state, "vice"), 6, "it is not started any more");
    let restart =
        |session: &mut Session| session.call("orchestrator:restart_server", &json!({"server": "sick"}));
    assert_eq!(restart(&mut session)["isError"], true, "the sixth failure");
    let restarted = restart(&mut session);
    assert!(first_text(&restarted).starts_with("sick was started afresh"), "{restarted}");
    assert_eq!(first_text(&session.call("sick:echo", &json!({"message": "well"}))), "well");
    assert_eq!(status(&mut session, "sick")["state"], "ready");
    session.end();
}

#[test]
fn b1_a_crash_while_idle_is_mended_without_a_call() {
    let (_folder, state) = state_file();
    let arguments = ["--vice", "crash", "--when", "idle", "--times", "1", "--state", state.to_str().unwrap()];
    let (_sandbox, mut session) = serve(json!({"sick": hostile(&arguments)}), &json!({}));
    assert_eq!(first_text(&session.call("sick:echo", &json!({"message": "up"}))), "up");
    let first = status(&mut session, "sick")["pid"].clone();
    wait_until("it crashes and is started again", || {
        let status = status(&mut session, "sick");
        (status["state"] == "ready" && status["pid"] != first).then_some(())
    });
    assert_eq!(status(&mut session, "sick")["failures"], 1);
    session.end();
}

#[test]
fn b3_a_lost_call_is_repeated_only_where_that_does_no_harm() {
    let (_folder, state) = state_file();
    let file = state.to_str().unwrap();
    // It dies in every second call of its life.
    let sick = hostile(&["--vice", "dies-second-call", "--state", file]);
    let (_sandbox, mut session) = serve(json!({"sick": sick}), &json!({}));
    for number in 0..4 {
        let answer = session.call("sick:read_counted", &json!({"message": format!("m{number}")}));
        assert_eq!(first_text(&answer), format!("m{number}"), "a tool that only reads is asked again");
    }
    // Whatever the state of its life, one of two calls is lost.
    let answers: Vec<Value> = (0..2).map(|_| session.call("sick:write", &json!({"message": "w"}))).collect();
    let lost: Vec<&Value> = answers.iter().filter(|answer| answer["isError"] == true).collect();
    assert_eq!(lost.len(), 1, "{answers:?}");
    assert!(first_text(lost[0]).contains("its outcome is unknown"), "{}", first_text(lost[0]));
    assert_eq!(lost[0]["structuredContent"]["attempts"], 1);
    session.end();
}

#[test]
fn b4_a_call_that_times_out_is_cancelled_at_the_child() {
    let (_folder, state) = state_file();
    let slow = hostile(&["--state", state.to_str().unwrap()]);
    let (_sandbox, mut session) = serve(json!({"slow": slow}), &json!({"timeouts": {"call": 0.3}}));
    let late = session.call("slow:sleep", &json!({"ms": 2000, "token": "late"}));
    assert!(first_text(&late).contains("slow:sleep did not answer within 0.3 s"), "{}", first_text(&late));
    wait_until("the child is told", || (count(&state, "cancelled") == 1).then_some(()));
    assert_eq!(first_text(&session.call("slow:echo", &json!({"message": "next"}))), "next");
    assert_eq!(status(&mut session, "slow")["state"], "ready", "one slow tool is no reason to end it");
    session.end();
}

#[test]
fn b4_a_child_that_answers_nothing_any_more_is_restarted() {
    let (_folder, state) = state_file();
    let arguments = ["--vice", "hang", "--when", "idle", "--times", "1", "--state", state.to_str().unwrap()];
    let timeouts = json!({"timeouts": {"ping": 0.3, "pingEvery": 0.5}});
    let (_sandbox, mut session) = serve(json!({"sick": hostile(&arguments)}), &timeouts);
    session.call("sick:echo", &json!({"message": "up"}));
    let first = status(&mut session, "sick")["pid"].clone();
    // No call is needed to find out: it is pinged.
    wait_until("it is found dead and started again", || {
        let status = status(&mut session, "sick");
        (status["state"] == "ready" && status["pid"] != first).then_some(())
    });
    assert_eq!(first_text(&session.call("sick:echo", &json!({"message": "well"}))), "well");
    session.end();
}

#[test]
fn b8_what_nobody_asked_for_reaches_nobody_and_is_counted() {
    let (_sandbox, mut session) = serve(json!({"sick": hostile(&["--vice", "unsolicited"])}), &json!({}));
    for number in 0..20 {
        let message = format!("m{number}");
        assert_eq!(first_text(&session.call("sick:echo", &json!({"message": message}))), message);
    }
    assert!(status(&mut session, "sick")["noise"]["stray_answers"].as_u64().unwrap() > 0);
    session.end();
}

#[test]
fn b10_arguments_over_the_limit_reach_no_child() {
    let (_folder, state) = state_file();
    let server = hostile(&["--state", state.to_str().unwrap()]);
    let (_sandbox, mut session) =
        serve(json!({"one": server}), &json!({"limits": {"requestBytes": 100_000}}));
    let answer = session.call("one:write", &json!({"message": "x".repeat(200_000)}));
    let told = first_text(&answer);
    assert!(told.contains("too large: 200") && told.contains("and 100000 are the limit"), "{told}");
    assert_eq!(session.call("one:write", &json!({"message": "x".repeat(90_000)}))["isError"], Value::Null);
    assert_eq!(count(&state, "write"), 1);
    session.end();
}

#[test]
fn b12_what_was_left_out_of_a_list_is_told() {
    let servers = json!({
        "schemaless": hostile(&["--vice", "no-schema"]),
        "doubled": hostile(&["--vice", "duplicate-names"]),
        "many": hostile(&["--vice", "many-tools", "--count", "300"]),
        "endless": hostile(&["--vice", "cursor-endless"])
    });
    let (_sandbox, mut session) = serve(servers, &json!({"limits": {"tools": 100, "pages": 10}}));
    for (server, told) in [
        ("schemaless", ""),
        ("doubled", "listed twice"),
        ("many", "more than 100 tools"),
        ("endless", "more than 10 pages"),
    ] {
        let answer = session.call(&format!("{server}:echo"), &json!({"message": "x"}));
        assert_eq!(first_text(&answer), "x", "{server} can be used all the same");
        let warnings = status(&mut session, server)["warnings"].to_string();
        assert!(warnings.contains(told), "{server}: {warnings}");
    }
    session.end();
}

#[test]
fn b13_a_storm_of_changes_costs_a_few_listings() {
    let (_folder, state) = state_file();
    let storm =
        hostile(&["--vice", "list-changed-storm", "--when", "idle", "--state", state.to_str().unwrap()]);
    let (_sandbox, mut session) = serve(json!({"storm": storm}), &json!({}));
    session.call("storm:echo", &json!({"message": "up"}));
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        assert_eq!(first_text(&session.call("storm:echo", &json!({"message": "x"}))), "x");
        thread::sleep(Duration::from_millis(20));
    }
    // Some 3,000 notifications in 3 s; one listing in each 0.2 s.
    let lists = count(&state, "asked tools/list");
    assert!((2..=25).contains(&lists), "{lists} listings");
    session.end();
}

#[test]
fn b15_the_breaker_opens_and_one_good_probe_closes_it() {
    let (_folder, state) = state_file();
    let arguments = ["--vice", "hang", "--when", "call", "--times", "3", "--state", state.to_str().unwrap()];
    let more = json!({
        "timeouts": {"call": 0.2, "ping": 5},
        "breaker": {"consecutive": 3, "openFor": 1.5, "window": 30, "minimumCalls": 10, "failureShare": 0.5}
    });
    let servers = json!({"sick": hostile(&arguments), "other": child(&["--name", "other"])});
    let (_sandbox, mut session) = serve(servers, &more);
    for _ in 0..3 {
        let answer = session.call("sick:misbehave", &json!({}));
        assert!(first_text(&answer).contains("did not answer within 0.2 s"), "{}", first_text(&answer));
    }
    let refused = session.call("sick:echo", &json!({"message": "x"}));
    assert!(first_text(&refused).contains("takes no calls for the next"), "{}", first_text(&refused));
    let shown = status(&mut session, "sick");
    assert_eq!(shown["breaker"], "open");
    assert!(shown["retry_in_ms"].as_u64().unwrap() <= 1500);
    assert_eq!(first_text(&session.call("other:whoami", &json!({}))), "other");
    let well = wait_until("a probe gets through", || {
        let answer = session.call("sick:echo", &json!({"message": "well"}));
        (answer["isError"] != true).then_some(answer)
    });
    assert_eq!(first_text(&well), "well");
    assert_eq!(status(&mut session, "sick").get("breaker"), None);
    // Errors of a tool are answers: they open nothing.
    for _ in 0..10 {
        session.call("other:fail", &json!({}));
    }
    assert_eq!(status(&mut session, "other").get("breaker"), None);
    session.end();
}

#[test]
fn b15_one_crash_counts_once_however_many_calls_it_costs() {
    let (_sandbox, mut session) = serve(json!({"one": child(&["--name", "one"])}), &json!({}));
    session.call("one:whoami", &json!({}));
    let ids: Vec<u64> = (0..10).map(|_| session.begin_call("one:sleep", &json!({"ms": 30_000}))).collect();
    wait_until("all are under way", || (status(&mut session, "one")["in_flight"] == 10).then_some(()));
    session.call("one:crash", &json!({}));
    for id in ids {
        assert!(first_text(&session.answer(id)["result"]).contains("its outcome is unknown"));
    }
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one", "the breaker is closed");
    session.end();
}

#[test]
fn b15_tools_of_an_open_server_are_found_but_not_routed_to() {
    let arguments = ["--vice", "hang", "--when", "call"];
    let mut settings = settings(&json!({
        "timeouts": {"call": 0.2, "ping": 5}, "breaker": {"consecutive": 2, "openFor": 60}
    }));
    settings.as_object_mut().unwrap().remove("model");
    let sandbox = Sandbox::with_settings(json!({"sick": hostile(&arguments)}), settings);
    sandbox.json(&["reindex", "--json"]);
    let mut session = sandbox.serve();
    for _ in 0..2 {
        session.call("sick:misbehave", &json!({}));
    }
    let task = json!({"task": "repeat a message word for word", "arguments": {"message": "x"}});
    let routed = session.tool("execute", &task);
    assert_eq!(routed["structuredContent"]["status"], "failed", "{routed}");
    assert!(first_text(&routed).contains("fits best, but server \"sick\" takes no calls"), "{routed}");
    let found = session.tool("search_tools", &json!({"query": "repeat a message word for word"}));
    let first = &found["structuredContent"]["results"][0];
    assert!(first["unavailable"].as_str().unwrap().contains("takes no calls"), "{first}");
    session.end();
}

#[test]
fn b17_servers_of_both_eras_work_and_the_era_is_remembered() {
    let (_folder, state) = state_file();
    let file = state.to_str().unwrap();
    let servers = json!({
        "legacy": hostile(&["--name", "legacy", "--state", file]),
        "modern": hostile(&["--vice", "modern-only", "--name", "modern"]),
        "dual": hostile(&["--vice", "dual", "--name", "dual"]),
        "mute": hostile(&["--vice", "discover-hang", "--name", "mute"]),
        "touchy": hostile(&["--vice", "discover-exit", "--name", "touchy"]),
        "ancient": hostile(&["--vice", "version-unknown", "--name", "ancient"])
    });
    let sandbox = Sandbox::with_settings(servers, settings(&json!({})));
    for round in 0..2 {
        let mut session = sandbox.serve();
        for server in ["legacy", "modern", "dual", "mute", "touchy"] {
            let answer = session.call(&format!("{server}:echo"), &json!({"message": server}));
            assert_eq!(first_text(&answer), server, "round {round}");
        }
        let refused = session.call("ancient:echo", &json!({"message": "x"}));
        assert!(
            first_text(&refused).contains("speaks protocol 1999-01-01, and the orchestrator 2024-11-05"),
            "{}",
            first_text(&refused)
        );
        session.end();
    }
    // The first start had to find out; the second knew.
    assert_eq!(count(&state, "asked server/discover"), 1);
}

#[test]
fn c8_a_child_out_of_memory_is_a_crash_like_any_other() {
    let hostile = hostile(&[]);
    let program = hostile["command"].as_str().unwrap();
    let script = format!("ulimit -v 300000; exec {program} --vice memory-hog --when call --bytes 900000000");
    let servers =
        json!({"hog": {"command": "sh", "args": ["-c", script]}, "other": child(&["--name", "other"])});
    let (_sandbox, mut session) = serve(servers, &json!({}));
    let answer = session.call("hog:misbehave", &json!({}));
    assert!(first_text(&answer).contains("ended during the call"), "{}", first_text(&answer));
    assert_eq!(first_text(&session.call("other:whoami", &json!({}))), "other");
    assert_eq!(first_text(&session.call("hog:echo", &json!({"message": "again"}))), "again");
    session.end();
}

#[test]
fn deadlines_and_limits_are_set_for_one_server_alone() {
    let servers = json!({"quick": child(&["--name", "quick"]), "slow": child(&["--name", "slow"])});
    let mut settings = settings(&json!({"timeouts": {"call": 0.3}}));
    settings["servers"] = json!({"slow": {"timeouts": {"call": 30}}});
    let sandbox = Sandbox::with_settings(servers, settings);
    let mut session = sandbox.serve();
    let arguments = json!({"ms": 900, "token": "slept"});
    assert_eq!(session.call("quick:sleep", &arguments)["isError"], true);
    assert_eq!(first_text(&session.call("slow:sleep", &arguments)), "slept");
    session.end();
    for (settings, key) in [
        (json!({"servers": {"b": {"retry": {"budget": 0.1}}}}), "orchestrator.servers.b"),
        (json!({"execute": {"allowDestructive": ["a", "b:erase"]}}), "orchestrator.execute.allowDestructive"),
    ] {
        sandbox.configure(&json!({"mcpServers": {"a": child(&[])}, "orchestrator": settings}).to_string());
        let output = sandbox.run(&["status"]);
        assert_eq!(output.status.code(), Some(2));
        let message = crate::support::text(&output.stderr);
        assert!(
            message.contains("there is no server \"b\" under mcpServers") && message.contains(key),
            "{message}"
        );
    }
}

#[test]
fn a_child_inherits_no_descriptor_of_ours() {
    let (_sandbox, mut session) = serve(json!({"one": child(&["--name", "fd-test-31b7"])}), &json!({}));
    session.call("one:whoami", &json!({}));
    let open = |pid: u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        entries.map(|entry| fs::read_link(entry.path()).unwrap_or_default()).collect::<Vec<PathBuf>>()
    };
    let child = processes_with("fd-test-31b7").into_iter().find(|pid| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("fixture-server"))
    });
    let (own, ours) = (open(child.unwrap()), open(session.process.id()));
    // Its three pipes are its own; what we were started with ourselves is not ours to close.
    let inherited = open(std::process::id());
    let leaked: Vec<&PathBuf> =
        own.iter().filter(|file| ours.contains(file) && !inherited.contains(file)).collect();
    assert!(
        leaked.iter().all(|file| file.to_string_lossy().starts_with("pipe:")) && leaked.len() <= 3,
        "{leaked:?}"
    );
    session.end();
}

#[test]
fn a_poisonous_tool_does_not_cost_the_server_its_life() {
    let (_folder, state) = state_file();
    let arguments = ["--vice", "crash", "--when", "call", "--no-hint", "--state", state.to_str().unwrap()];
    let (_sandbox, mut session) = serve(
        json!({"sick": hostile(&arguments)}),
        &json!({"breaker": {"consecutive": 100, "minimumCalls": 100}}),
    );
    for _ in 0..8 {
        assert_eq!(session.call("sick:misbehave", &json!({}))["isError"], true);
        // Crashes count in a row only while nothing good lies between.
        assert_eq!(first_text(&session.call("sick:echo", &json!({"message": "well"}))), "well");
    }
    session.end();
}

#[test]
fn b4_a_cancelled_call_costs_a_busy_child_nothing() {
    let (_folder, state) = state_file();
    let serial = hostile(&["--serial", "--state", state.to_str().unwrap()]);
    let timeouts = json!({"timeouts": {"call": 20, "ping": 0.5, "pingEvery": 1}});
    let (_sandbox, mut session) = serve(json!({"one": serial}), &timeouts);
    session.call("one:echo", &json!({"message": "up"}));
    let first = status(&mut session, "one")["pid"].clone();
    let cancel = |session: &mut Session, id: u64| {
        let params = json!({"requestId": id});
        session.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    };
    // One call keeps it busy; another fills its pipe and is cancelled.
    let slow = session.begin_call("one:sleep", &json!({"ms": 3000, "token": "slept"}));
    thread::sleep(Duration::from_millis(100));
    let long = session.begin_call("one:write", &json!({"message": "x".repeat(300_000)}));
    thread::sleep(Duration::from_millis(100));
    cancel(&mut session, long);
    assert_eq!(first_text(&session.answer(slow)["result"]), "slept");
    // The only call is cancelled, and the child goes on with it: it hears no ping meanwhile.
    let only = session.begin_call("one:sleep", &json!({"ms": 3000}));
    thread::sleep(Duration::from_millis(100));
    cancel(&mut session, only);
    thread::sleep(Duration::from_secs(3));
    assert_eq!(first_text(&session.call("one:echo", &json!({"message": "well"}))), "well");
    assert_eq!(status(&mut session, "one")["pid"], first, "it was never restarted");
    session.end();
}

#[test]
fn b15_a_restart_by_the_user_is_no_failure() {
    let (_sandbox, mut session) = serve(json!({"one": child(&["--name", "one"])}), &json!({}));
    session.call("one:whoami", &json!({}));
    let ids: Vec<u64> = (0..10).map(|_| session.begin_call("one:sleep", &json!({"ms": 30_000}))).collect();
    wait_until("all are under way", || (status(&mut session, "one")["in_flight"] == 10).then_some(()));
    let restarted = session.call("orchestrator:restart_server", &json!({"server": "one"}));
    assert!(first_text(&restarted).starts_with("one was started afresh"), "{restarted}");
    for id in ids {
        let lost = session.answer(id)["result"].clone();
        assert!(first_text(&lost).contains("its outcome is unknown"), "{lost}");
    }
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    assert_eq!(status(&mut session, "one").get("failures"), None);
    session.end();
}

#[test]
fn b17_a_server_may_become_one_of_the_older_era() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("older");
    let program = hostile(&[])["command"].as_str().unwrap().to_owned();
    let script = format!(
        "[ -e {0} ] && exec {program} --vice discover-hang; exec {program} --vice modern-only",
        marker.display()
    );
    let servers = json!({"one": {"command": "sh", "args": ["-c", script]}});
    let sandbox = Sandbox::with_settings(servers, settings(&json!({"timeouts": {"handshake": 2}})));
    for older in [false, true] {
        if older {
            fs::write(&marker, "").unwrap();
        }
        let mut session = sandbox.serve();
        assert_eq!(first_text(&session.call("one:echo", &json!({"message": "x"}))), "x", "older: {older}");
        session.end();
    }
}

#[test]
fn what_a_server_writes_stays_out_of_the_trail() {
    let (sandbox, mut session) = serve(json!({"sick": hostile(&["--vice", "exit-1"])}), &json!({}));
    let answer = session.call("sick:echo", &json!({"message": "x"}));
    assert!(first_text(&answer).contains("cannot find the database"));
    session.end();
    let rows = sandbox.json(&["audit", "--json"]).to_string();
    assert!(rows.contains("ended during the handshake") && !rows.contains("database"), "{rows}");
}

#[test]
fn the_built_in_server_is_described_like_any_other() {
    let (_sandbox, mut session) = serve(json!({}), &json!({}));
    let listed = session.tool("list_servers", &json!({"server": "orchestrator"}));
    assert_eq!(listed["structuredContent"]["tools"][0]["tool"], "restart_server");
    let described = session.tool(
        "search_tools",
        &json!({"names": ["orchestrator:restart_server", "orchestrator__restart_server"], "detail": "full"}),
    );
    let results = described["structuredContent"]["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["inputSchema"]["required"], json!(["server"]));
    let unknown = session.call("orchestrator:nope", &json!({}));
    assert!(first_text(&unknown).contains("the built-in server has orchestrator:restart_server"));
    session.end();
}
