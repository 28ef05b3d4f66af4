//! Arguments against a tool's input schema: what is missing and what is wrong.

use jsonschema::error::ValidationErrorKind;
use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::{Map, Value};

/// What keeps arguments from satisfying a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The field, as in `items[0].name`; empty for the arguments as a whole.
    pub field: String,
    /// Why.
    pub problem: String,
}

/// The problem of a parameter that is not there.
const MISSING: &str = "is required";

/// Problems in one line.
pub(super) fn summary(problems: &[Problem]) -> String {
    let shown = problems.iter().map(|problem| match problem.field.as_str() {
        "" => problem.problem.clone(),
        field if problem.problem == MISSING => format!("{field} {MISSING}"),
        field => format!("{field}: {}", problem.problem),
    });
    shown.collect::<Vec<_>>().join("; ")
}

/// The fields that have problems, without the values that the problems quote.
pub(super) fn fields(problems: &[Problem]) -> String {
    let fields =
        problems.iter().map(|problem| if problem.field.is_empty() { "(all)" } else { &problem.field });
    fields.collect::<Vec<_>>().join(", ")
}

/// Checks arguments against a schema. A schema that itself is broken is left to the child.
pub fn validate(schema: &JsonObject, arguments: &JsonObject) -> Vec<Problem> {
    let schema = Value::Object(schema.clone());
    let validator = match jsonschema::validator_for(&schema) {
        Ok(validator) => validator,
        Err(error) => {
            tracing::debug!("a tool's input schema cannot be used to check arguments: {error}");
            return Vec::new();
        }
    };
    let arguments = Value::Object(arguments.clone());
    let problems = validator.iter_errors(&arguments).map(|error| {
        let place = error.instance_path().to_string();
        match error.kind() {
            ValidationErrorKind::Required { property } => Problem {
                field: field_of(&format!("{place}/{}", property.as_str().unwrap_or_default())),
                problem: MISSING.to_owned(),
            },
            _ => Problem { field: field_of(&place), problem: error.to_string() },
        }
    });
    problems.collect()
}

/// `/items/0/name` as `items[0].name`.
fn field_of(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |field, part| {
        let is_index = part.chars().all(|character| character.is_ascii_digit());
        match (field.as_str(), is_index) {
            ("", _) => part.replace("~1", "/").replace("~0", "~"),
            (_, true) => format!("{field}[{part}]"),
            (_, false) => format!("{field}.{}", part.replace("~1", "/").replace("~0", "~")),
        }
    })
}

/// Arguments as a model may give them: an object, or a JSON string of one.
pub fn parse_arguments(value: Value) -> Result<JsonObject, String> {
    match value {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        Value::String(text) if text.trim().is_empty() => Ok(Map::new()),
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err("\"arguments\" is a string of JSON that is no object".to_owned()),
            Err(error) => Err(format!("\"arguments\" is a string that is no JSON object: {error}")),
        },
        other => Err(format!("\"arguments\" has to be an object, not {other}")),
    }
}

/// Names of the required parameters.
pub(super) fn required(schema: &JsonObject) -> Vec<&str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.map(|names| names.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> JsonObject {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    #[test]
    fn problems_name_the_field_and_say_why() {
        let schema = object(json!({
            "type": "object",
            "properties": {"path": {"type": "string"}, "items": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}},
            "required": ["path"], "additionalProperties": false
        }));
        let problems = validate(&schema, &object(json!({"items": [{"n": "x"}]})));
        let shown = summary(&problems);
        assert!(shown.contains("path is required"), "{shown}");
        assert!(shown.contains("items[0].n: \"x\" is not of type \"integer\""), "{shown}");
        assert!(validate(&schema, &object(json!({"path": "x"}))).is_empty());
        assert!(!validate(&schema, &object(json!({"path": "x", "pth": 1}))).is_empty());
    }

    #[test]
    fn a_broken_schema_is_left_to_the_child() {
        assert!(validate(&object(json!({"type": 5})), &Map::new()).is_empty());
    }

    #[test]
    fn arguments_come_as_object_or_as_string() {
        assert_eq!(parse_arguments(json!({"a": 1})), Ok(object(json!({"a": 1}))));
        assert_eq!(parse_arguments(json!("{\"a\": 1}")), Ok(object(json!({"a": 1}))));
        assert_eq!(parse_arguments(Value::Null), Ok(Map::new()));
        assert!(parse_arguments(json!([1])).is_err());
        assert!(parse_arguments(json!("{")).is_err());
        assert!(parse_arguments(json!("3")).is_err());
    }
}
