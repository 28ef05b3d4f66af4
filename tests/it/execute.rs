//! `execute` and `search_tools` over the fixture's tools, with the real model.

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, child, first_text};

/// A session over an indexed fixture, or none without the model.
fn indexed() -> (Sandbox, Session) {
    let sandbox = Sandbox::new(json!({"fixture": child(&["--name", "the fixture"])}));
    sandbox.json(&["reindex", "--json"]);
    let session = sandbox.serve();
    (sandbox, session)
}

fn execute(session: &mut Session, input: &Value) -> Value {
    session.tool("execute", input)
}

#[test]
fn a_clear_task_is_done() {
    let (sandbox, mut session) = indexed();
    let result = execute(&mut session, &json!({"task": "tell me the name of this fixture"}));
    assert_eq!(first_text(&result), "the fixture", "{result}");
    let routing = &result["_meta"]["orchestrator"];
    assert_eq!((&routing["status"], &routing["tool"]), (&json!("done"), &json!("whoami")));
    assert!(routing["confidence"].as_f64().unwrap() > 0.0);
    for stage in ["embed_ms", "search_ms", "start_ms", "call_ms"] {
        assert!(routing["timings"][stage].is_f64(), "{stage}: {routing}");
    }
    // The decision and the call are in the trail, tied together, without any argument's value.
    session.end();
    let rows = sandbox.json(&["audit", "--json"]);
    let (call, route) = (&rows[0], &rows[1]);
    assert_eq!((&call["kind"], &route["kind"]), (&json!("call"), &json!("route")));
    assert_eq!(call["request"], route["request"]);
    assert_eq!(route["task"], "tell me the name of this fixture");
    assert_eq!(route["candidates"][0]["tool"], "whoami");
    assert_eq!((&call["outcome"], &call["attempts"]), (&json!("done"), &json!(1)));
}

#[test]
fn missing_arguments_are_asked_for_with_the_exact_next_call() {
    let (_sandbox, mut session) = indexed();
    let task = "repeat a message word for word several times";
    let asked =
        execute(&mut session, &json!({"task": "wait for some milliseconds then answer with a token"}));
    let facts = &asked["structuredContent"];
    assert_eq!((&facts["status"], &facts["tool"]), (&json!("needs_arguments"), &json!("sleep")), "{asked}");
    assert_eq!(facts["missing"][0]["field"], "ms");
    let mut request = facts["call_tool"].clone();
    assert!(request["arguments"]["ms"].is_null());
    // A blank that stays blank is refused; a filled one is the whole next turn.
    let blank = session.tool("call_tool", &request);
    assert_eq!(blank["structuredContent"]["status"], "needs_arguments");
    request["arguments"]["ms"] = json!(1);
    assert_eq!(first_text(&session.tool("call_tool", &request)), "slept");
    // The only required argument takes words, so the task's own go in.
    let echoed = execute(&mut session, &json!({"task": task}));
    assert_eq!(first_text(&echoed), task);
    // Given arguments are checked and used.
    let given = execute(&mut session, &json!({"task": task, "arguments": {"message": "given"}}));
    assert_eq!(first_text(&given), "given");
    let wrong = execute(&mut session, &json!({"task": task, "arguments": {"message": 5}}));
    assert_eq!(wrong["structuredContent"]["missing"][0]["field"], "message", "{wrong}");
    session.end();
}

#[test]
fn a_destructive_tool_and_a_dry_run_call_nothing() {
    let (sandbox, mut session) = indexed();
    let erase = execute(&mut session, &json!({"task": "erase the whole disk for good"}));
    assert_eq!(erase["structuredContent"]["status"], "needs_confirmation", "{erase}");
    assert_eq!(erase["structuredContent"]["call_tool"]["tool"], "fixture:erase");
    let dry = execute(&mut session, &json!({"task": "tell me the name of this fixture", "dry_run": true}));
    assert_eq!(dry["structuredContent"]["status"], "dry_run");
    session.end();
    let rows = sandbox.json(&["audit", "--json"]);
    assert!(rows.as_array().unwrap().iter().all(|row| row["kind"] == "route"), "{rows}");
}

#[test]
fn what_nothing_fits_is_said_so() {
    let (_sandbox, mut session) = indexed();
    let result = execute(&mut session, &json!({"task": "which invoices are unpaid"}));
    assert_eq!(result["structuredContent"]["status"], "no_match", "{result}");
    assert!(result["isError"] != true);
    session.end();
}

#[test]
fn tools_are_found_with_and_without_their_schemas() {
    let (_sandbox, mut session) = indexed();
    let compact = session.tool("search_tools", &json!({"query": "pause for a while", "limit": 3}));
    let results = compact["structuredContent"]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["tool"], "sleep");
    assert_eq!(results[0]["signature"], "sleep(ms: integer, token?: string)");
    assert!(results[0].get("inputSchema").is_none());
    assert!(results[0]["confidence"].as_f64() >= results[1]["confidence"].as_f64());
    let full = session.tool("search_tools", &json!({"query": "pause for a while", "detail": "full"}));
    let first = &full["structuredContent"]["results"][0];
    assert!(first["inputSchema"]["properties"]["ms"].is_object() && first["dense"].is_number());
    let named = session.tool("search_tools", &json!({"names": ["fixture:echo", "nope"], "detail": "full"}));
    assert_eq!(named["structuredContent"]["results"][0]["tool"], "echo");
    assert!(first_text(&named).contains("nope: unknown tool"));
    session.end();
}

#[test]
fn an_explanation_adds_up() {
    let (sandbox, mut session) = indexed();
    let example = "let a fresh leaf sprout";
    sandbox.json(&["examples", "add", "fixture:grow", example, "--json"]);
    let task = "Repeat the words I say. Then let a new leaf sprout.";
    let found = sandbox.json(&["search", task, "--explain", "--json"]);
    let results = found["results"].as_array().unwrap();
    for result in results {
        let sum = |terms: &Value| -> f64 {
            let terms = terms.as_array().unwrap().iter();
            terms.map(|term| term["value"].as_f64().unwrap() * term["weight"].as_f64().unwrap()).sum()
        };
        let explanation = &result["explanation"];
        assert!((sum(&explanation["score"]) - result["score"].as_f64().unwrap()).abs() < 1e-4, "{result}");
        let confidence = 1.0 / (1.0 + (-sum(&explanation["confidence"])).exp());
        assert!((confidence - result["confidence"].as_f64().unwrap()).abs() < 1e-4, "{result}");
    }
    let of = |name: &str| &results.iter().find(|result| result["tool"] == name).unwrap()["explanation"];
    assert_eq!(of("grow")["clause"], "let a new leaf sprout.");
    assert_eq!(of("grow")["example"], example);
    assert_eq!(of("echo")["clause"], "Repeat the words I say.");
    assert_eq!(of("echo")["example"], Value::Null);
    let told = crate::support::text(&sandbox.run(&["search", task, "--explain"]).stdout);
    assert!(told.contains("nearest example: \"let a fresh leaf sprout\""), "{told}");
    let full = session.tool("search_tools", &json!({"query": task, "detail": "full"}));
    assert!(full["structuredContent"]["results"][0]["explanation"]["score"].is_array(), "{full}");
    assert!(first_text(&full).contains("log-odds"));
    session.end();
}

#[test]
fn servers_are_ranked_by_their_tools_together() {
    let sandbox = Sandbox::new(json!({
        "fixture": child(&["--name", "x"]),
        "other": child(&["--name", "y"]),
    }));
    sandbox.json(&["reindex", "--json"]);
    let found = sandbox.json(&["search", "repeat a message", "--servers", "--json"]);
    let servers = found["results"].as_array().unwrap();
    assert_eq!(servers.len(), 2, "{found}");
    let shares: Vec<f64> = servers.iter().map(|server| server["share"].as_f64().unwrap()).collect();
    assert!((shares[0] + shares[1] - 1.0).abs() < 1e-4 && shares[0] >= shares[1], "{found}");
    assert_eq!(servers[0]["tool"], "echo", "{found}");
    let told = crate::support::text(&sandbox.run(&["search", "repeat a message", "--servers"]).stdout);
    assert!(told.trim_start().starts_with("server"), "{told}");
}

#[test]
fn without_a_model_tools_are_found_by_words() {
    let sandbox = Sandbox::with_settings(
        json!({"fixture": child(&["--name", "x"])}),
        json!({"model": "/no/such/model"}),
    );
    let output = sandbox.run(&["reindex"]);
    assert!(output.status.success());
    assert!(
        crate::support::text(&output.stderr).contains("words only"),
        "{}",
        crate::support::text(&output.stderr)
    );
    let found = sandbox.json(&["search", "repeat a message", "--json"]);
    assert_eq!(found["results"][0]["tool"], "echo");
    assert!(found["degraded"].as_str().unwrap().contains("/no/such/model"));
}

#[test]
fn a_first_task_finds_servers_that_were_never_listed() {
    let sandbox =
        Sandbox::with_settings(json!({"fixture": child(&["--name", "x"])}), json!({"model": "/no/model"}));
    let mut session = sandbox.serve();
    let found = session.tool("search_tools", &json!({"query": "repeat a message"}));
    assert_eq!(found["structuredContent"]["results"][0]["tool"], "echo", "{found}");
    session.end();
}

#[test]
fn another_server_stands_in_for_one_that_cannot_be_reached() {
    let sandbox = Sandbox::new(json!({}));
    let there = sandbox.path("there");
    std::fs::write(&there, "").unwrap();
    let (mut gone, other) = (child(&["--name", "gone"]), child(&["--name", "other"]));
    let script = format!("test -e '{}' && exec \"$0\" \"$@\"", there.display());
    let mut arguments = vec![json!("-c"), json!(script), gone["command"].clone()];
    arguments.extend(gone["args"].as_array().unwrap().iter().cloned());
    gone = json!({"command": "sh", "args": arguments});
    sandbox.configure(&json!({"mcpServers": {"gone": gone, "other": other}}).to_string());
    sandbox.json(&["reindex", "--json"]);
    let task = "repeat a message word for word, gone";
    std::fs::remove_file(&there).unwrap();

    let mut session = sandbox.serve();
    let task = json!({"task": task, "arguments": {"message": "x"}});
    let done = execute(&mut session, &task);
    assert_eq!(first_text(&done), "x", "{done}");
    let routing = &done["_meta"]["orchestrator"];
    assert_eq!((&routing["server"], &routing["instead_of"]["tool"]), (&json!("other"), &json!("gone:echo")));
    assert!(routing["instead_of"]["reason"].as_str().unwrap().contains("\"gone\""), "{routing}");
    session.end();
}

#[test]
fn rejected_arguments_come_back_with_the_schema() {
    let (_sandbox, mut session) = indexed();
    let refused = session.tool("call_tool", &json!({"tool": "fixture:refuse", "arguments": {}}));
    assert_eq!(refused["structuredContent"]["status"], "failed", "{refused}");
    assert!(refused["structuredContent"]["inputSchema"]["type"].is_string(), "{refused}");
    assert!(first_text(&refused).contains("Schema of its arguments: {"), "{refused}");
    session.end();
}

#[test]
fn parameters_at_the_wrong_level_are_understood() {
    let (_sandbox, mut session) = indexed();
    let nested = json!({"tool": "fixture:echo", "arguments": {"arguments": {"message": "deep"}}});
    assert_eq!(first_text(&session.tool("call_tool", &nested)), "deep");
    session.end();
}

#[test]
fn a_long_result_is_cut_and_read_on_with_nothing_lost() {
    let (_sandbox, mut session) = indexed();
    let message = (0..60_000).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    let cut = session.tool("call_tool", &json!({"tool": "fixture:echo", "arguments": {"message": message}}));
    let mut all = first_text(&cut).to_owned();
    assert!(all.len() <= 100_000 && message.len() > 300_000);
    let mut note = cut["content"].as_array().unwrap().last().unwrap()["text"].clone();
    while let Some((_, request)) = note.as_str().and_then(|note| note.split_once("call_tool: ")) {
        let request: Value = serde_json::from_str(request.trim_end_matches(']')).unwrap();
        let page = session.tool("call_tool", &request);
        all.push_str(first_text(&page));
        note = page["content"].get(1).map_or(Value::Null, |block| block["text"].clone());
    }
    assert!(all == message);
    let gone =
        session.tool("call_tool", &json!({"tool": "orchestrator:read_more", "arguments": {"cursor": "x-1"}}));
    assert!(first_text(&gone).contains("not kept any more"), "{gone}");
    session.end();
}
