//! A tool in one line, as a model reads it: `read_file(path: string, head?: number)`.

use rmcp::model::Tool as Definition;
use serde_json::Value;

/// Name and parameters with their types; optional ones carry a `?`, required ones come first.
pub fn signature(tool: &Definition) -> String {
    let required: Vec<&str> = tool
        .input_schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let Some(Value::Object(properties)) = tool.input_schema.get("properties") else {
        return format!("{}()", tool.name);
    };
    let shown = |name: &String, schema: &Value, mark: &str| format!("{name}{mark}: {}", type_name(schema));
    let is_required = |name: &String| required.contains(&name.as_str());
    let first =
        properties.iter().filter(|(name, _)| is_required(name)).map(|(name, schema)| shown(name, schema, ""));
    let then = properties
        .iter()
        .filter(|(name, _)| !is_required(name))
        .map(|(name, schema)| shown(name, schema, "?"));
    format!("{}({})", tool.name, first.chain(then).collect::<Vec<_>>().join(", "))
}

/// A schema's type in a word; an enumeration shows its first values.
fn type_name(schema: &Value) -> String {
    const SHOWN_VALUES: usize = 6;
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let mut shown: Vec<String> = values.iter().take(SHOWN_VALUES).map(Value::to_string).collect();
        if values.len() > SHOWN_VALUES {
            shown.push("…".to_owned());
        }
        return shown.join("|");
    }
    match schema.get("type") {
        Some(Value::String(name)) if name == "array" => {
            format!("{}[]", schema.get("items").map_or_else(|| "any".to_owned(), type_name))
        }
        Some(Value::String(name)) => name.clone(),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        _ => {
            let variants = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)?.as_array());
            variants.map_or_else(
                || "any".to_owned(),
                |all| {
                    let mut names: Vec<String> = all.iter().map(type_name).collect();
                    names.dedup();
                    names.join("|")
                },
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn required_parameters_come_first_and_types_are_short() {
        let Value::Object(schema) = json!({
            "type": "object",
            "properties": {
                "head": {"type": ["number", "null"]},
                "mode": {"enum": ["a", "b"]},
                "paths": {"type": "array", "items": {"type": "string"}},
                "where": {"anyOf": [{"type": "string"}, {"type": "object"}]},
                "any": {}
            },
            "required": ["paths"]
        }) else {
            panic!()
        };
        assert_eq!(
            signature(&Definition::new("read", "", Arc::new(schema))),
            "read(paths: string[], head?: number|null, mode?: \"a\"|\"b\", where?: string|object, any?: any)"
        );
        assert_eq!(
            signature(&Definition::new("ping", "", Arc::new(rmcp::model::JsonObject::new()))),
            "ping()"
        );
    }
}
