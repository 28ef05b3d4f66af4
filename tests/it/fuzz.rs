//! Whatever comes from outside is read without a panic, a hang or a wrong success: configurations,
//! schemas of tools, tasks, arguments. More cases than in CI: `PROPTEST_CASES=100000 cargo test fuzz`.

use std::path::Path;

use orchestrator::{
    catalog::{Store, Tool, signature, text},
    child::{Listing, ServerInfo},
    config::{self, Transport},
    execute::{parse_arguments, validate},
    index::lexical,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON, with the keys that mean something in schemas and configurations among its keys.
fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        "[a-z$]{0,8}",
        prop::sample::select(vec![
            "type",
            "properties",
            "required",
            "items",
            "$ref",
            "$defs",
            "anyOf",
            "enum",
            "additionalProperties",
            "pattern",
            "minimum",
            "default",
            "mcpServers",
            "orchestrator",
            "command",
            "args",
            "env",
            "url",
            "timeouts",
            "limits",
            "servers",
            "name",
            "inputSchema",
            "description",
        ])
        .prop_map(str::to_owned),
    ];
    let text = prop_oneof![
        ".{0,20}",
        prop::sample::select(vec![
            "object",
            "string",
            "#",
            "#/$defs/a",
            "${HOME}",
            "${",
            "[",
            "(",
            "http://x"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Map<String, Value>> {
    any_json().prop_map(|value| match value {
        Value::Object(object) => object,
        other => Map::from_iter([("type".to_owned(), other)]),
    })
}

fn tool(name: &str, description: &str, schema: &Map<String, Value>) -> Option<Tool> {
    let definition = json!({"name": name, "description": description, "inputSchema": schema});
    Some(Tool::new("server", serde_json::from_value(definition).ok()?))
}

/// Reads a configuration; errors have to say where.
fn read(text: &str) -> Result<(), TestCaseError> {
    match config::parse(text, Path::new("c.json"), &|_| None) {
        Ok(config) => {
            for server in config.servers.values() {
                if let Transport::Invalid(reason) = &server.transport {
                    prop_assert!(!reason.is_empty());
                }
            }
        }
        Err(error) => prop_assert!(error.to_string().starts_with("c.json:"), "{error}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_a_configuration_or_an_error_with_its_place(text in ".{0,200}") {
        read(&text)?;
    }

    #[test]
    fn any_json_is_a_configuration_or_an_error_with_its_place(value in any_json(), servers in any_json(), own in any_json()) {
        read(&value.to_string())?;
        read(&json!({"mcpServers": servers, "orchestrator": own}).to_string())?;
        read(&json!({"mcpServers": {"a": servers}, "orchestrator": {"servers": {"a": own}}}).to_string())?;
    }

    #[test]
    fn a_configuration_with_a_byte_changed_is_read_or_refused(at in 0_usize..400, byte: u8) {
        let whole = json!({
            "mcpServers": {"time": {"command": "uvx", "args": ["x", "${HOME}"], "env": {"A": "b"}}},
            "orchestrator": {"timeouts": {"call": 1.5}, "servers": {"time": {"limits": {"pages": 3}}}}
        });
        let mut bytes = whole.to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        read(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn any_schema_becomes_text_words_and_a_signature(
        name in ".{0,30}", description in ".{0,60}", schema in any_object()
    ) {
        if let Some(tool) = tool(&name, &description, &schema) {
            let _text = text::to_embed("server", tool.definition());
            prop_assert!(signature(tool.definition()).starts_with(&name));
        }
    }

    #[test]
    fn any_arguments_fit_any_schema_or_do_not(schema in any_object(), arguments in any_object()) {
        for problem in validate(&schema, &arguments) {
            prop_assert!(!problem.problem.is_empty());
        }
    }

    #[test]
    fn any_value_is_arguments_or_an_error(value in any_json(), text in ".{0,80}") {
        for value in [value, Value::from(text)] {
            if let Err(reason) = parse_arguments(value) {
                prop_assert!(!reason.is_empty());
            }
        }
    }
}

#[test]
fn any_task_is_searched() {
    let store = Store::in_memory().unwrap();
    let tools = ["read_file", "git_log", "größe", "NEAR", "a\"b"].map(|name| {
        tool(name, "Reads, AND writes; OR not (at all)*", &Map::new()).unwrap().definition().clone()
    });
    let listing = Listing {
        server: "server".to_owned(),
        info: ServerInfo::default(),
        tools: tools.to_vec(),
        warnings: Vec::new(),
    };
    store.apply(&listing, "fingerprint", false).unwrap();
    proptest!(|(task in prop_oneof![
        ".{0,300}", "[\"'*^:(){}+\\-]{0,20}", "(NEAR|AND|OR|NOT|[a-z]{1,5}| |\"|\\*|\\(|\\)){0,20}"
    ])| {
        let found = lexical::search(&store, &task, 10).unwrap();
        prop_assert!(found.values().all(|score| score.is_finite()));
    });
}
