//! What a host may send: mistakes get an answer, the session lives, and what a child gets is exactly
//! what was meant. Names begin with the row of the fault catalogue.

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, child, first_text, hostile};

fn serve(servers: Value) -> (Sandbox, Session) {
    let sandbox = Sandbox::with_settings(servers, json!({"model": "/no/model"}));
    let session = sandbox.serve();
    (sandbox, session)
}

#[test]
fn d1_odd_configurations_are_read_or_refused_with_their_place() {
    let sandbox = Sandbox::new(json!({}));
    let status = |text: &[u8]| {
        std::fs::write(sandbox.config(), text).unwrap();
        let output = sandbox.run(&["status"]);
        (output.status.code(), crate::support::text(&output.stderr))
    };
    let large = format!(r#"{{"x": "{}", "mcpServers": {{}}}}"#, "y".repeat(10_000_000));
    assert_eq!(status(large.as_bytes()).0, Some(0), "other hosts keep other things in it");
    assert_eq!(status("\u{feff}{\"mcpServers\": {}}".as_bytes()).0, Some(0));
    for (text, problem) in [
        (&b""[..], "config.json:1:0: EOF"),
        (b"\xff\xfe", "config.json"),
        (br#"{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}"#, "given twice"),
        (br#"{"orchestrator": {"timeouts": {"call": 0}}}"#, "no deadline that could be kept"),
        (br#"{"orchestrator": {"breaker": {"failureShare": 7}}}"#, "not a share between 0 and 1"),
        (br#"{"orchestrator": {"limits": {"pages": -1}}}"#, "in orchestrator.limits.pages"),
    ] {
        let (code, message) = status(text);
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn d2_mistakes_in_the_protocol_are_answered_and_end_nothing() {
    let (_sandbox, mut session) = serve(json!({}));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let call =
        |params: &str| format!(r#"{{"jsonrpc":"2.0","id":700,"method":"tools/call","params":{params}}}"#);
    let long = call(&format!(r#"{{"name":"execute","arguments":{{"task":"{}"}}}}"#, "x".repeat(17_000_000)));
    for (line, code, id) in [
        ("hello {".to_owned(), -32700, Value::Null),
        (r#"[{"jsonrpc":"2.0","id":700,"method":"ping"}]"#.to_owned(), -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":700}"#.to_owned(), -32600, json!(700)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#.to_owned(), -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#.to_owned(), -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":700,"method":"no/such"}"#.to_owned(), -32601, json!(700)),
        (call("[1]"), -32600, json!(700)),
        (call(r#"{"Name":"execute"}"#), -32602, json!(700)),
        (call(r#"{"name":"no_such_tool"}"#), -32602, json!(700)),
        (call(&format!(r#"{{"name":{deep}}}"#)), -32700, json!(700)),
        (long, -32600, json!(700)),
    ] {
        session.write_line(line.as_bytes());
        let shown: String = line.chars().take(80).collect();
        let answer = session.message(&shown, |message| message.get("error").is_some());
        assert_eq!(answer["error"]["code"], code, "{shown}: {answer}");
        assert_eq!(answer["id"], id, "{shown}: {answer}");
        assert_eq!(session.request("ping", &json!({}))["result"], json!({}));
    }
    session.end();
}

#[test]
fn d2_nothing_is_done_before_the_session_begins() {
    let sandbox = Sandbox::with_settings(json!({}), json!({"model": "/no/model"}));
    let mut session = Session::without_handshake(sandbox.command(&["serve"]));
    session.write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}}));
    let early = session.request("tools/list", &json!({}));
    assert_eq!(early["error"]["code"], -32600);
    assert!(early["error"]["message"].as_str().unwrap().contains("initialize"));
    let begun = session.request("initialize", &json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}
    }));
    assert_eq!(begun["result"]["serverInfo"]["name"], "orchestrator");
    session.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!(session.request("tools/list", &json!({}))["result"]["tools"].as_array().unwrap().len(), 4);
    session.end();
}

#[test]
fn d3_what_is_checked_is_what_the_child_gets() {
    let (sandbox, mut session) = serve(json!({"one": child(&["--name", "one"])}));
    session.call("one:whoami", &json!({}));
    // A parser that takes the first of two equal keys would check another tool than it calls.
    session.write_line(
        br#"{"jsonrpc":"2.0","id":900,"method":"tools/call","params":{"name":"call_tool","arguments":
            {"tool":"one:erase","tool":"one:echo","arguments":{"message":"a","message":"b"}}}}"#
            .split(|byte| *byte == b'\n')
            .collect::<Vec<_>>()
            .concat()
            .as_slice(),
    );
    assert_eq!(first_text(&session.answer(900)["result"]), "b");
    for (arguments, problem) in [
        (r#"{"Tool":"one:erase","tool":"one:echo"}"#, "unknown field `Tool`"),
        (r#"{"tool\u0000":"one:erase","tool":"one:echo"}"#, "unknown field"),
        (r#"{"tool":"one:echo","arguments":{"message":"a","Message":"b"}}"#, "Message"),
    ] {
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":901,"method":"tools/call","params":{{"name":"call_tool","arguments":{arguments}}}}}"#
        );
        session.write_line(line.as_bytes());
        let answer = session.answer(901);
        assert!(answer["result"].to_string().contains(problem), "{arguments}: {answer}");
    }
    session.end();
    let rows = sandbox.json(&["audit", "--json"]);
    let tools: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|row| row["tool"].as_str()).collect();
    assert!(!tools.contains(&"erase"), "{tools:?}");
}

#[test]
fn d4_numbers_and_texts_reach_the_child_unchanged() {
    let whole = json!({"model": "/no/model", "execute": {"maxResultBytes": 0}});
    let sandbox = Sandbox::with_settings(json!({"one": hostile(&[])}), whole);
    let mut session = sandbox.serve();
    let arguments = json!({
        "integer": 9_007_199_254_740_993_i64, "negative": i64::MIN, "unsigned": u64::MAX, "float": 0.1,
        "text": "emoji 👩‍👩‍👧, שלום, e\u{301}, \u{0}, \u{2028}", "nested": {"a": [1, null, true, {"b": []}]},
        "empty": {}, "long": "ä".repeat(2_500_000)
    });
    let answer = session.call("one:mirror", &arguments);
    let back: Value = serde_json::from_str(first_text(&answer)).unwrap();
    assert_eq!(back, arguments);
    session.end();
}

#[test]
fn d2_an_id_is_used_once_at_a_time() {
    let (_sandbox, mut session) = serve(json!({"one": hostile(&[])}));
    session.call("one:echo", &json!({"message": "up"}));
    let call = |token: &str| {
        json!({"jsonrpc": "2.0", "id": 500, "method": "tools/call", "params": {"name": "call_tool", "arguments":
            {"tool": "one:sleep", "arguments": {"ms": 300, "token": token}}}})
    };
    session.write(&call("first"));
    session.write(&call("second"));
    let refused = session.message("a refusal", |message| message.get("error").is_some());
    assert!(refused["error"]["message"].as_str().unwrap().contains("this id"), "{refused}");
    assert_eq!(first_text(&session.answer(500)["result"]), "first");
    session.write(&call("third"));
    assert_eq!(first_text(&session.answer(500)["result"]), "third");
    session.end();
}
