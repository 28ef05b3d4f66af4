//! The four tools as a host sees them.

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, child, first_text};

#[test]
fn a_host_sees_four_tools_and_no_child_is_started_for_it() {
    let starts = tempfile::NamedTempFile::new().unwrap();
    let sandbox = Sandbox::new(json!({"one": child(&["--starts", starts.path().to_str().unwrap()])}));
    let mut session = sandbox.serve();
    let listed = session.request("tools/list", &json!({}));
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["execute", "search_tools", "call_tool", "list_servers"]);
    for tool in tools {
        assert!(tool["description"].as_str().is_some_and(|text| text.len() > 20));
        assert_eq!(tool["inputSchema"]["additionalProperties"], false);
        assert!(tool["annotations"]["readOnlyHint"].is_boolean());
        assert_eq!(tool["_meta"]["anthropic/alwaysLoad"], true);
    }
    assert!(tools[0]["description"].as_str().unwrap().contains("one"), "it names what is behind");
    assert_eq!(std::fs::read_to_string(starts.path()).unwrap(), "");
    session.end();
}

#[test]
fn a_modern_host_is_served_without_initialize() {
    let sandbox = Sandbox::new(json!({"one": child(&[])}));
    let mut command = sandbox.command(&["serve"]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}
    });
    let lines = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": meta}}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"_meta": meta, "name": "call_tool",
               "arguments": {"tool": "one:echo", "arguments": {"message": "modern"}}}}),
    ];
    let input = lines.map(|line| line.to_string()).join("\n") + "\n";
    let file = sandbox.path("input");
    std::fs::write(&file, input).unwrap();
    let output = command.stdin(std::fs::File::open(file).unwrap()).output().unwrap();
    let answers: Vec<Value> = crate::support::text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let by_id =
        |id: u64| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("{answers:?}"));
    assert_eq!(
        by_id(1)["result"]["supportedVersions"].as_array().map(|all| all.contains(&json!("2026-07-28"))),
        Some(true)
    );
    assert_eq!(first_text(&by_id(2)["result"]), "modern");
}

#[test]
fn a_childs_result_comes_back_untouched() {
    let sandbox = Sandbox::new(json!({"one": child(&[])}));
    let mut session = sandbox.serve();
    let mut result = session.call("one:rich", &json!({}));
    let meta = result["_meta"].as_object_mut().unwrap();
    let routing = meta.remove("orchestrator").unwrap();
    assert_eq!(
        (&routing["server"], &routing["tool"], &routing["status"]),
        (&json!("one"), &json!("rich"), &json!("done"))
    );
    assert!(routing["timings"]["call_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(
        result,
        json!({
            "content": [
                {"type": "text", "text": "héllo", "annotations": {"priority": 0.5}},
                {"type": "image", "data": "aGk=", "mimeType": "image/png"},
                {"type": "resource_link", "uri": "file:///x", "name": "x"}
            ],
            "structuredContent": {"answer": 9_007_199_254_740_993_u64, "status": "mine"},
            "_meta": {"own": true}
        })
    );
    let failed = session.call("one:fail", &json!({}));
    assert_eq!((first_text(&failed), &failed["isError"]), ("it did not work", &json!(true)));
    let refused = session.call("one:refuse", &json!({}));
    assert!(first_text(&refused).contains("not like this (code -32602)"), "{refused}");
    session.end();
}

#[test]
fn names_are_understood_in_every_form_and_mistakes_answered() {
    let sandbox = Sandbox::new(json!({"one": child(&["--name", "1"]), "two": child(&["--name", "2"])}));
    let mut session = sandbox.serve();
    for (tool, answer) in [("one:whoami", "1"), ("two__whoami", "2")] {
        assert_eq!(first_text(&session.call(tool, &json!({}))), answer);
    }
    // Arguments as a string of JSON.
    assert_eq!(first_text(&session.call("one:echo", &json!("{\"message\": \"s\"}"))), "s");
    for (tool, arguments, problem) in [
        ("one:ecko", json!({}), "did you mean \"one:echo\"?"),
        ("oen:echo", json!({}), "did you mean \"one\"?"),
        ("nonsense-of-all-kinds", json!({}), "unknown tool"),
        ("one:echo", json!({"message": "x", "times": 0}), "times: 0 is less than the minimum of 1"),
        ("one:echo", json!({}), "message is required"),
        ("one:echo", json!([1]), "\"arguments\" has to be an object"),
    ] {
        let result = session.call(tool, &arguments);
        assert!(first_text(&result).contains(problem), "{tool} {arguments}: {}", first_text(&result));
    }
    let missing = session.call("one:echo", &json!({}));
    assert_eq!(missing["structuredContent"]["status"], "needs_arguments");
    assert_eq!(
        missing["structuredContent"]["call_tool"],
        json!({"tool": "one:echo", "arguments": {"message": null}})
    );
    session.end();
}

#[test]
fn wrong_input_to_the_four_tools_is_told_and_the_session_lives() {
    let sandbox = Sandbox::new(json!({"one": child(&[])}));
    let mut session = sandbox.serve();
    for (tool, arguments, problem) in [
        ("execute", json!({}), "missing field `task`"),
        ("execute", json!({"task": "  "}), "\"task\" is empty"),
        ("execute", json!({"task": "x", "tasks": 1}), "unknown field `tasks`"),
        ("execute", json!({"task": "x", "server": "onne"}), "did you mean \"one\"?"),
        ("search_tools", json!({}), "give \"query\""),
        ("search_tools", json!({"query": "x", "limit": "many"}), "invalid type"),
        ("list_servers", json!({"server": "two"}), "unknown server \"two\""),
    ] {
        let result = session.tool(tool, &arguments);
        assert_eq!(result["isError"], true, "{tool} {arguments}");
        assert!(first_text(&result).contains(problem), "{tool} {arguments}: {}", first_text(&result));
    }
    let unknown = session.request("tools/call", &json!({"name": "whoami", "arguments": {}}));
    assert!(unknown["error"]["message"].as_str().unwrap().contains("call_tool"), "{unknown}");
    let odd = session.request("no/such/method", &json!({}));
    assert_eq!(odd["error"]["code"], -32601, "{odd}");
    assert_eq!(first_text(&session.call("one:echo", &json!({"message": "alive"}))), "alive");
    session.end();
}

#[test]
fn a_cancelled_call_ends_at_once() {
    let sandbox = Sandbox::new(json!({"one": child(&["--name", "one"])}));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    let call = json!({"tool": "one:sleep", "arguments": {"ms": 50_000}});
    let id = session.send("tools/call", &json!({"name": "call_tool", "arguments": call}));
    std::thread::sleep(std::time::Duration::from_millis(200));
    session
        .write(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    wait_for_no_call_in_flight(&mut session);
    assert_eq!(first_text(&session.call("one:whoami", &json!({}))), "one");
    session.end();
}

fn wait_for_no_call_in_flight(session: &mut Session) {
    crate::support::wait_until("the call is over", || {
        let listed = session.tool("list_servers", &json!({"server": "one"}));
        (listed["structuredContent"]["servers"][0]["in_flight"] == 0).then_some(())
    });
}

#[test]
fn servers_are_listed_with_their_states() {
    let sandbox = Sandbox::new(json!({
        "one": child(&[]), "off": {"command": "x", "disabled": true}, "far": {"url": "https://example.com/mcp"},
        "unset": {"command": "x", "env": {"KEY": "${NOT_SET_ANYWHERE_AT_ALL}"}}
    }));
    let mut session = sandbox.serve();
    session.call("one:whoami", &json!({}));
    let listed = session.tool("list_servers", &json!({}));
    let state = |name: &str| -> Value {
        let servers = listed["structuredContent"]["servers"].as_array().unwrap();
        servers.iter().find(|server| server["server"] == name).unwrap().clone()
    };
    assert_eq!(state("one")["state"], "ready");
    assert_eq!(state("off")["state"], "disabled");
    assert!(state("far")["reason"].as_str().unwrap().contains("remote"));
    assert!(state("unset")["reason"].as_str().unwrap().contains("NOT_SET_ANYWHERE_AT_ALL"));
    session.end();
}
