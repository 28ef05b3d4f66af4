//! Types in a JSON schema, as tools write them: optional ones as a choice with null, shared ones as references.

use rmcp::model::JsonObject;
use serde_json::Value;

/// A definition without what makes it optional, and without references.
pub(super) fn plain<'a>(definition: &'a Value, schema: &'a JsonObject) -> &'a Value {
    let is_null = |variant: &&Value| variant["type"] == "null";
    let variants = ["anyOf", "oneOf"].iter().find_map(|key| definition.get(key)?.as_array());
    if let Some(variants) = variants {
        let mut others = variants.iter().filter(|variant| !is_null(variant));
        // Of several types none is the one that is meant.
        return match (others.next(), others.next()) {
            (Some(only), None) => referenced(only, schema),
            _ => definition,
        };
    }
    referenced(definition, schema)
}

fn referenced<'a>(definition: &'a Value, schema: &'a JsonObject) -> &'a Value {
    let path = definition.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/"));
    let found = path.and_then(|path| {
        let mut parts = path.split('/');
        let first = schema.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    });
    found.unwrap_or(definition)
}

/// The one type of a definition.
pub(super) fn type_of(definition: &Value) -> Option<&str> {
    match definition.get("type") {
        Some(Value::String(name)) => Some(name),
        Some(Value::Array(names)) => {
            let mut names = names.iter().filter_map(Value::as_str).filter(|name| *name != "null");
            names.next().filter(|_| names.next().is_none())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn optional_and_referenced_types_are_seen() {
        let Value::Object(schema) = json!({"$defs": {"Place": {"type": "string"}}}) else { unreachable!() };
        for (definition, expected) in [
            (json!({"type": "integer"}), Some("integer")),
            (json!({"type": ["string", "null"]}), Some("string")),
            (json!({"type": ["string", "integer"]}), None),
            (json!({"anyOf": [{"type": "array"}, {"type": "null"}]}), Some("array")),
            (json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}), None),
            (json!({"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]}), Some("string")),
            (json!({"$ref": "#/$defs/None"}), None),
            (json!(true), None),
        ] {
            assert_eq!(type_of(plain(&definition, &schema)), expected, "{definition}");
        }
    }
}
