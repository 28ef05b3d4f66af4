//! Faults of the machine that the orchestrator itself runs on: full disk, locks, signals, few
//! descriptors, damage. Names begin with the row of the fault catalogue.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, child, first_text, text, wait_until};

fn sandbox(more: &Value) -> Sandbox {
    let mut settings = json!({"model": "/no/model", "timeouts": {"shutdown": 0.3}});
    for (key, value) in more.as_object().unwrap() {
        settings[key] = value.clone();
    }
    Sandbox::with_settings(json!({"one": child(&["--name", "one"])}), settings)
}

fn rows(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(&["audit", "--limit", "1000", "--json"]).as_array().unwrap().clone()
}

fn signal(session: &Session, name: &str) {
    let pid = session.process.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
}

#[test]
fn c1_a_call_has_its_row_before_it_is_sent() {
    let sandbox = sandbox(&json!({}));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    session.begin_call("one:sleep", &json!({"ms": 30_000}));
    wait_until("the call is on its way", || {
        let status = session.tool("list_servers", &json!({}));
        (status["structuredContent"]["servers"][0]["in_flight"] == 1).then_some(())
    });
    signal(&session, "KILL");
    session.wait();
    let rows = rows(&sandbox);
    let outcomes: Vec<(&str, &str)> =
        rows.iter().map(|row| (row["tool"].as_str().unwrap(), row["outcome"].as_str().unwrap())).collect();
    assert_eq!(outcomes, [("sleep", "started"), ("whoami", "done")]);
}

#[test]
fn c2_a_full_disk_stops_nothing_and_rows_are_written_when_there_is_space_again() {
    if !cfg!(target_os = "linux") {
        return;
    }
    // A disk of its own, in a mount namespace of its own; the shell frees space when it is told.
    let sandbox = sandbox(&json!({}));
    let data = sandbox.data();
    std::fs::create_dir_all(&data).unwrap();
    let script = r#"mount -t tmpfs -o size=600k none "$0" && head -c 580k /dev/zero > "$0/filler"; shift 0
        (while [ ! -e "$1" ]; do sleep 0.05; done; rm "$0/filler") >/dev/null 2>&1 </dev/null &
        shift; "$@"; code=$?; cp "$data"/audit.db* "$copy"/ 2>/dev/null; exit $code"#;
    let (free, copy) = (sandbox.path("free"), sandbox.path("copy"));
    std::fs::create_dir_all(&copy).unwrap();
    let inner = sandbox.command(&["serve"]);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(&data).arg(&free).arg(inner.get_program()).arg("serve");
    for (key, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(key, value);
        }
    }
    command.env("data", &data).env("copy", &copy).current_dir(crate::support::root());
    let allowed = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        return crate::support::skip("mount namespaces are not allowed here");
    }
    let mut session = Session::start(command);
    for _ in 0..5 {
        assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    }
    let problem = |session: &mut Session| {
        let listed = session.tool("list_servers", &json!({}));
        listed["structuredContent"]["audit_problem"].as_str().map(str::to_owned)
    };
    assert!(problem(&mut session).unwrap().contains("rows wait in memory"));
    std::fs::write(&free, "").unwrap();
    wait_until("the trail is written again", || problem(&mut session).is_none().then_some(()));
    session.end();
    std::fs::remove_dir_all(&data).ok();
    std::fs::rename(&copy, &data).unwrap();
    let rows = rows(&sandbox);
    assert_eq!(rows.len(), 5, "none is lost");
    assert!(rows.iter().all(|row| row["outcome"] == "done"), "{rows:?}");
}

#[test]
fn c2_a_strict_trail_refuses_calls_that_it_cannot_record() {
    let sandbox = sandbox(&json!({"audit": {"strict": true}}));
    let mut session = sandbox.serve();
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    let other = rusqlite::Connection::open(sandbox.data().join("audit.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // From the first on, and those that come with it.
    let ids: Vec<u64> = (0..3).map(|_| session.begin_call("one:whoami", &json!({}))).collect();
    for id in ids {
        let refused = session.answer(id)["result"].clone();
        assert!(first_text(&refused).contains("audit.strict"), "{}", first_text(&refused));
    }
    other.execute_batch("COMMIT").unwrap();
    wait_until("calls are made again", || {
        (session.call("one:whoami", &json!({}))["isError"] != true).then_some(())
    });
    session.end();
    let outcomes: Vec<Value> = rows(&sandbox).iter().map(|row| row["outcome"].clone()).collect();
    assert!(outcomes.len() >= 5 && !outcomes.contains(&json!("started")), "{outcomes:?}");
}

#[test]
fn c2_few_descriptors_fail_calls_and_not_the_session() {
    let servers: serde_json::Map<String, Value> =
        (0..20).map(|number| (format!("s{number}"), child(&["--name", "well"]))).collect();
    let sandbox = Sandbox::with_settings(
        servers.into(),
        json!({"model": "/no/model", "timeouts": {"shutdown": 0.3}, "restart": {"crashLimit": 1000}}),
    );
    let inner = sandbox.command(&["serve"]);
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n 64; exec "$0" serve"#]).arg(inner.get_program());
    for (key, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.current_dir(crate::support::root());
    let mut session = Session::start(command);
    let answers: Vec<Value> =
        (0..20).map(|number| session.call(&format!("s{number}:whoami"), &json!({}))).collect();
    let well = answers.iter().filter(|answer| first_text(answer) == "well").count();
    assert!(well >= 5, "{well} servers run");
    for answer in answers.iter().filter(|answer| first_text(answer) != "well") {
        assert_eq!(answer["isError"], true);
        assert!(first_text(answer).contains("Too many open files"), "{}", first_text(answer));
    }
    assert_eq!(first_text(&session.call("s0:whoami", &json!({}))), "well");
    session.end();
}

#[test]
fn c3_a_locked_trail_delays_little_and_loses_no_row() {
    let sandbox = sandbox(&json!({}));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    let other = rusqlite::Connection::open(sandbox.data().join("audit.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "answers do not wait for the lock: {:?}",
        begun.elapsed()
    );
    let listed = session.tool("list_servers", &json!({}));
    let problem = listed["structuredContent"]["audit_problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("rows wait in memory"), "{problem}");
    other.execute_batch("COMMIT").unwrap();
    wait_until("rows are written again", || {
        let listed = session.tool("list_servers", &json!({}));
        listed["structuredContent"].get("audit_problem").is_none().then_some(())
    });
    session.end();
    let rows = rows(&sandbox);
    assert_eq!(rows.len(), 11);
    assert!(rows.iter().all(|row| row["outcome"] == "done"), "{rows:?}");
}

#[test]
fn c3_two_orchestrators_share_one_data_folder() {
    let sandbox = sandbox(&json!({}));
    let mut sessions = [sandbox.serve(), sandbox.serve()];
    for round in 0..20 {
        let ids: Vec<u64> = sessions
            .iter_mut()
            .map(|session| session.begin_call("one:echo", &json!({"message": format!("m{round}")})))
            .collect();
        for (session, id) in sessions.iter_mut().zip(ids) {
            assert_eq!(first_text(&session.answer(id)["result"]), format!("m{round}"));
        }
    }
    for session in sessions {
        session.end();
    }
    let rows = rows(&sandbox);
    assert_eq!(rows.len(), 40);
    assert!(rows.iter().all(|row| row["outcome"] == "done"), "{rows:?}");
}

#[test]
fn c4_a_trail_that_breaks_while_it_is_written_is_kept_aside() {
    let sandbox = sandbox(&json!({}));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    session.end();
    let file = sandbox.data().join("audit.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // The header stays whole, so that only writing meets the damage.
    bytes[100..].fill(0xee);
    std::fs::write(&file, bytes).unwrap();
    let mut session = sandbox.serve();
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    session.end();
    assert_eq!(rows(&sandbox).len(), 1, "a new one was begun");
    let kept = std::fs::read_dir(sandbox.data()).unwrap().flatten();
    let kept = kept.filter(|entry| entry.file_name().to_string_lossy().starts_with("audit.db.damaged-"));
    assert!(kept.count() >= 1, "nothing is deleted");
}

#[test]
fn c7_a_signal_lets_calls_end() {
    let sandbox = sandbox(&json!({}));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    let ids: Vec<u64> =
        (0..50).map(|_| session.begin_call("one:sleep", &json!({"ms": 1000, "token": "done"}))).collect();
    thread::sleep(Duration::from_millis(300));
    signal(&session, "TERM");
    for id in ids {
        assert_eq!(first_text(&session.answer(id)["result"]), "done");
    }
    assert!(session.wait().success());
}

#[test]
fn c7_calls_that_do_not_end_in_time_are_answered_as_cancelled() {
    let sandbox = sandbox(&json!({"drain": 0.5}));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    let id = session.begin_call("one:sleep", &json!({"ms": 60_000}));
    thread::sleep(Duration::from_millis(200));
    signal(&session, "INT");
    thread::sleep(Duration::from_millis(100));
    let late = session.call("one:whoami", &json!({}));
    assert!(first_text(&late).contains("shutting down"), "{}", first_text(&late));
    let answer = session.answer(id)["result"].clone();
    assert!(first_text(&answer).contains("was cancelled"), "{}", first_text(&answer));
    assert!(session.wait().success());
}

#[test]
fn c7_a_second_signal_does_not_wait() {
    let sandbox = sandbox(&json!({"drain": 3600}));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    session.begin_call("one:sleep", &json!({"ms": 3_600_000}));
    thread::sleep(Duration::from_millis(200));
    signal(&session, "TERM");
    thread::sleep(Duration::from_millis(300));
    signal(&session, "TERM");
    assert!(session.wait().success());
}

#[test]
fn c7_a_closed_stdout_is_no_panic() {
    let sandbox = sandbox(&json!({}));
    let mut command = sandbox.command(&["serve"]);
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stdout.take());
    let mut stdin = process.stdin.take().unwrap();
    let initialize = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    for _ in 0..3 {
        use std::io::Write;
        writeln!(stdin, "{initialize}").ok();
        thread::sleep(Duration::from_millis(100));
    }
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn c5_a_model_file_truncated_under_us_changes_nothing() {
    let model = tempfile::tempdir().unwrap();
    let own = crate::support::root().join("models/tool-encoder-v1");
    let copied = Command::new("cp").arg("-r").arg(own.join(".")).arg(model.path()).status().unwrap();
    assert!(copied.success());
    let sandbox = sandbox(&json!({"model": model.path()}));
    sandbox.json(&["reindex", "--json"]);
    let mut session = sandbox.serve();
    let search = |session: &mut Session, query: &str| {
        let found = session.tool("search_tools", &json!({"query": query, "detail": "full"}));
        assert_eq!(found["structuredContent"].get("degraded"), None, "{found}");
        found["structuredContent"]["results"][0]["dense"].as_f64().unwrap()
    };
    let before = search(&mut session, "say my message again");
    std::fs::write(model.path().join("model.safetensors"), "").unwrap();
    assert!((search(&mut session, "say my message again") - before).abs() < 1e-6);
    search(&mut session, "another task, which is not in any cache");
    session.end();
    // A new process sees the damage, says so, and finds tools by words.
    let mut session = sandbox.serve();
    let found = session.tool("search_tools", &json!({"query": "repeat a message"}));
    assert!(found["structuredContent"]["degraded"].is_string(), "{found}");
    assert_eq!(found["structuredContent"]["results"][0]["tool"], "echo");
    session.end();
}

#[test]
fn c9_the_nth_system_call_fails_and_nothing_panics_or_lies() {
    let allowed = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return crate::support::skip("strace is not there or not allowed");
    }
    let faults =
        [("openat", "EIO", 24), ("pwrite64", "ENOSPC", 10), ("pipe2", "EMFILE", 6), ("clone3", "EAGAIN", 8)]
            .into_iter()
            .chain([
                ("vfork", "ENOMEM", 2),
                ("fsync", "EIO", 4),
                ("mkdir", "EROFS", 2),
                ("rename", "EIO", 2),
            ]);
    for (call, error, last) in faults {
        for number in 1..=last {
            let sandbox = sandbox(&json!({}));
            let inner = sandbox.command(&[]);
            let mut command = Command::new("timeout");
            command
                .args(["60", "strace", "-f", "-o", "/dev/null", "-e", &format!("trace={call}")])
                .args(["-e", &format!("inject={call}:error={error}:when={number}")])
                .arg(inner.get_program())
                .args(["call", "one", "whoami"])
                .current_dir(crate::support::root());
            for (key, value) in inner.get_envs() {
                match value {
                    Some(value) => command.env(key, value),
                    None => command.env_remove(key),
                };
            }
            let output = command.output().unwrap();
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            let what =
                format!("{call} number {number} fails with {error}: {:?}\n{out}\n{err}", output.status);
            // The child's own end may be a panic; ours may not.
            let panicked = err.lines().any(|line| line.starts_with("thread '"));
            assert!(!panicked && output.status.code() != Some(124), "{what}");
            if output.status.success() {
                assert!(out.lines().any(|line| line == "one"), "{what}");
            } else {
                assert!(!err.trim().is_empty() || out.contains("failed"), "it has to say why: {what}");
            }
        }
    }
}
