//! What passes between a child and the host that called it: progress, cancellation, log messages, and
//! the child's own requests.

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, first_text, hostile, wait_until};

fn settings() -> Value {
    json!({"model": "/no/model", "timeouts": {"discover": 0.5, "shutdown": 0.3}})
}

fn serve_as(servers: Value, capabilities: &Value) -> (Sandbox, Session) {
    let sandbox = Sandbox::with_settings(servers, settings());
    let session = Session::start_as(sandbox.command(&["serve"]), capabilities);
    (sandbox, session)
}

/// What a child was answered, as it tells in its own answer.
fn told(answer: &Value) -> Value {
    let text = first_text(answer).strip_prefix("told ").unwrap();
    serde_json::from_str(text).unwrap()
}

#[test]
fn progress_comes_under_the_hosts_own_token_and_only_forwards() {
    let (_sandbox, mut session) = serve_as(json!({"one": hostile(&[])}), &json!({}));
    session.call("one:echo", &json!({"message": "up"}));
    let call = json!({"tool": "one:progress", "arguments": {"steps": [1, 2, 2, 1, 3, 5, 4], "ms": 30}});
    let params = json!({"name": "call_tool", "arguments": call, "_meta": {"progressToken": "mine"}});
    let id = session.send("tools/call", &params);
    assert_eq!(first_text(&session.answer(id)["result"]), "progressed");
    let seen: Vec<f64> = session
        .kept("notifications/progress")
        .iter()
        .map(|message| {
            assert_eq!(message["params"]["progressToken"], "mine");
            message["params"]["progress"].as_f64().unwrap()
        })
        .collect();
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    assert_eq!((seen.first(), seen.last()), (Some(&1.0), Some(&5.0)));
    session.end();
}

#[test]
fn a_call_without_a_token_gets_no_progress() {
    let (_sandbox, mut session) = serve_as(json!({"one": hostile(&[])}), &json!({}));
    let answer = session.call("one:progress", &json!({"steps": [1, 2], "ms": 20}));
    assert_eq!(first_text(&answer), "progressed");
    assert!(session.kept("notifications/progress").is_empty());
    session.end();
}

#[test]
fn a_flood_of_progress_becomes_a_trickle() {
    let flood = hostile(&["--vice", "progress-flood", "--when", "call"]);
    let (_sandbox, mut session) = serve_as(json!({"sick": flood}), &json!({}));
    session.call("sick:echo", &json!({"message": "up"}));
    let call = json!({"tool": "sick:misbehave", "arguments": {}});
    let params = json!({"name": "call_tool", "arguments": call, "_meta": {"progressToken": 7}});
    let id = session.send("tools/call", &params);
    assert_eq!(session.answer(id)["result"]["isError"], Value::Null);
    let seen = session.kept("notifications/progress").len();
    // Two seconds of it, and one in 10 ms goes on.
    assert!((1..=250).contains(&seen), "{seen} notifications");
    session.end();
}

#[test]
fn a_call_that_the_host_cancels_is_cancelled_at_the_child() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let server = hostile(&["--state", state.to_str().unwrap()]);
    let (_sandbox, mut session) = serve_as(json!({"one": server}), &json!({}));
    session.call("one:echo", &json!({"message": "up"}));
    let id = session.begin_call("one:sleep", &json!({"ms": 20_000, "token": "late"}));
    std::thread::sleep(std::time::Duration::from_millis(200));
    let params = json!({"requestId": id, "reason": "changed my mind"});
    session.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    let told = || std::fs::read_to_string(&state).unwrap_or_default().contains("cancelled");
    wait_until("the child is told", || told().then_some(()));
    assert_eq!(first_text(&session.call("one:echo", &json!({"message": "next"}))), "next");
    session.end();
}

#[test]
fn a_host_that_goes_away_cancels_its_calls() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let server = hostile(&["--state", state.to_str().unwrap()]);
    let (_sandbox, mut session) = serve_as(json!({"one": server}), &json!({}));
    session.call("one:echo", &json!({"message": "up"}));
    session.begin_call("one:sleep", &json!({"ms": 60_000, "token": "late"}));
    std::thread::sleep(std::time::Duration::from_millis(200));
    session.close();
    assert!(session.wait().success());
    assert!(std::fs::read_to_string(&state).unwrap().contains("cancelled"));
}

#[test]
fn b14_a_childs_request_reaches_the_host_that_called() {
    let servers = json!({
        "elicits": hostile(&["--vice", "asks-elicitation", "--when", "call"]),
        "samples": hostile(&["--vice", "asks-sampling", "--when", "call"]),
        "roots": hostile(&["--vice", "asks-roots", "--when", "call"]),
        "pings": hostile(&["--vice", "asks-ping", "--when", "call"])
    });
    let capabilities = json!({"elicitation": {}, "sampling": {}, "roots": {"listChanged": true}});
    let (_sandbox, mut session) = serve_as(servers, &capabilities);
    for (server, method, result) in [
        ("elicits", "elicitation/create", json!({"action": "accept", "content": {"name": "Ada"}})),
        (
            "samples",
            "sampling/createMessage",
            json!({"role": "assistant", "content": {"type": "text", "text": "hello"}, "model": "test"}),
        ),
        ("roots", "roots/list", json!({"roots": [{"uri": "file:///home/ada"}]})),
    ] {
        let id = session.begin_call(&format!("{server}:misbehave"), &json!({}));
        let asked = session.incoming(method);
        session.write(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}));
        let answer = session.answer(id)["result"].clone();
        let told = told(&answer);
        for (key, value) in result.as_object().unwrap() {
            assert_eq!(&told["result"][key], value, "{server}: {told}");
        }
    }
    let ping = session.call("pings:misbehave", &json!({}));
    assert!(first_text(&ping).contains("result"), "{ping}");
    session.end();
}

#[test]
fn b14_what_the_host_does_not_offer_is_refused_and_never_hangs() {
    let servers = json!({
        "elicits": hostile(&["--vice", "asks-elicitation", "--when", "call"]),
        "samples": hostile(&["--vice", "asks-sampling", "--when", "call"])
    });
    let (_sandbox, mut session) = serve_as(servers, &json!({}));
    for server in ["elicits", "samples"] {
        let answer = session.call(&format!("{server}:misbehave"), &json!({}));
        let told = told(&answer);
        assert_eq!(told["error"]["code"], -32601, "{server}: {told}");
    }
    session.end();
}

#[test]
fn log_messages_carry_the_servers_name_and_the_level_is_the_hosts() {
    let (_sandbox, mut session) = serve_as(json!({"one": hostile(&[])}), &json!({}));
    session.call("one:log", &json!({"level": "warning", "text": "first"}));
    let log = session.incoming("notifications/message");
    assert_eq!(log["params"]["logger"], "one/fixture");
    assert_eq!((&log["params"]["level"], &log["params"]["data"]), (&json!("warning"), &json!("first")));
    session.request("logging/setLevel", &json!({"level": "error"}));
    session.call("one:log", &json!({"level": "warning", "text": "unheard"}));
    session.call("one:log", &json!({"level": "critical", "text": "heard"}));
    let log = session.incoming("notifications/message");
    assert_eq!(log["params"]["data"], "heard");
    session.end();
}

#[test]
fn a_waiting_child_is_not_taken_for_a_silent_one() {
    let servers = json!({"elicits": hostile(&["--vice", "asks-elicitation", "--when", "call"])});
    let mut settings = settings();
    settings["timeouts"]["call"] = json!(0.4);
    let sandbox = Sandbox::with_settings(servers, settings);
    let mut session = Session::start_as(sandbox.command(&["serve"]), &json!({"elicitation": {}}));
    let id = session.begin_call("elicits:misbehave", &json!({}));
    let asked = session.incoming("elicitation/create");
    // The user thinks for longer than a silent child would be given.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    session.write(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "decline"}}));
    assert!(first_text(&session.answer(id)["result"]).contains("decline"));
    session.end();
}

#[test]
fn input_that_a_modern_child_asks_for_is_got_from_a_host_of_either_era() {
    let servers = json!({"asks": hostile(&["--vice", "input-required", "--name", "asks"])});
    let sandbox = Sandbox::with_settings(servers, settings());

    // A host of the older protocol is asked while the call goes on.
    let mut session = Session::start_as(sandbox.command(&["serve"]), &json!({"elicitation": {}}));
    let id = session.begin_call("asks:misbehave", &json!({"message": "x"}));
    let asked = session.incoming("elicitation/create");
    assert_eq!(asked["params"]["message"], "Who are you?");
    let result = json!({"action": "accept", "content": {"name": "Ada"}});
    session.write(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}));
    assert_eq!(first_text(&session.answer(id)["result"]), "x for Ada, remembered");
    session.end();

    // One of the newer protocol calls again with the answer.
    let mut session = Session::without_handshake(sandbox.command(&["serve"]));
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}
    });
    let arguments = json!({"tool": "asks:misbehave", "arguments": {"message": "y"}});
    let first =
        session.request("tools/call", &json!({"name": "call_tool", "arguments": arguments, "_meta": meta}));
    let wanted = &first["result"];
    assert_eq!(wanted["resultType"], "input_required", "{first}");
    let (key, request) = wanted["inputRequests"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(request["method"], "elicitation/create");
    let second = session.request(
        "tools/call",
        &json!({
            "name": "call_tool", "arguments": arguments, "_meta": meta, "requestState": wanted["requestState"],
            "inputResponses": {key: {"action": "accept", "content": {"name": "Bob"}}}
        }),
    );
    assert_eq!(first_text(&second["result"]), "y for Bob, remembered", "{second}");
    session.end();
}

#[test]
fn input_that_a_host_refuses_is_not_the_servers_fault() {
    let servers = json!({"asks": hostile(&["--vice", "input-required"])});
    let (_sandbox, mut session) = serve_as(servers, &json!({"elicitation": {}}));
    for _ in 0..6 {
        let id = session.begin_call("asks:misbehave", &json!({"message": "x"}));
        let asked = session.incoming("elicitation/create");
        let error = json!({"code": -1, "message": "the user closed the window"});
        session.write(&json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}));
        let answer = session.answer(id)["result"].clone();
        assert!(first_text(&answer).contains("the user closed the window"), "{answer}");
    }
    assert_eq!(first_text(&session.call("asks:echo", &json!({"message": "well"}))), "well");
    session.end();
}

#[test]
fn a_question_is_withdrawn_when_its_call_is_cancelled() {
    let servers = json!({"asks": hostile(&["--vice", "input-required"])});
    let (_sandbox, mut session) = serve_as(servers, &json!({"elicitation": {}}));
    let id = session.begin_call("asks:misbehave", &json!({"message": "x"}));
    let asked = session.incoming("elicitation/create");
    let params = json!({"requestId": id});
    session.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    let withdrawn = session.incoming("notifications/cancelled");
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
    session.end();
}
