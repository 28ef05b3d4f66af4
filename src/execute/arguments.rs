//! Arguments against a tool's input schema: what is missing, what is wrong, and the two cases in
//! which a call needs no arguments from the caller.

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

/// Problems in one line.
pub(super) fn summary(problems: &[Problem]) -> String {
    let shown = problems.iter().map(|problem| match problem.field.as_str() {
        "" => problem.problem.clone(),
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
    let problems = validator.iter_errors(&arguments).map(|error| Problem {
        field: field_of(&error.instance_path().to_string()),
        problem: error.to_string(),
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

/// The arguments of a call for which the caller gave none, where that is certain: nothing is
/// required, or the one required parameter takes the task's own words.
pub(super) fn from_task(schema: &JsonObject, task: &str) -> Option<JsonObject> {
    match required(schema)[..] {
        [] => Some(Map::new()),
        [name] if takes_free_text(name, schema) => {
            Some(Map::from_iter([(name.to_owned(), Value::String(task.to_owned()))]))
        }
        _ => None,
    }
}

/// Names under which tools take words as they come.
const FREE_TEXT_NAMES: &[&str] = &[
    "query",
    "q",
    "question",
    "prompt",
    "text",
    "message",
    "task",
    "input",
    "search",
    "search query",
    "search term",
    "search text",
    "term",
    "keyword",
    "keywords",
    "instruction",
    "instructions",
    "request",
    "thought",
];

/// Words in a description that tell of a language or form which plain words do not have.
const FORMAL_WORDS: &[&str] = &[
    "sql",
    "jql",
    "cql",
    "graphql",
    "cypher",
    "promql",
    "logql",
    "regex",
    "regular expression",
    "glob",
    "json",
    "xml",
    "yaml",
    "css",
    "xpath",
    "url",
    "uri",
    "path",
    "uuid",
    "identifier",
    "base64",
    "iso 8601",
    "expression",
    "syntax",
];

/// Whether a parameter is a plain string that is meant for words.
fn takes_free_text(name: &str, schema: &JsonObject) -> bool {
    let Some(parameter) = schema.get("properties").and_then(|properties| properties.get(name)) else {
        return false;
    };
    let is_plain = parameter.get("type") == Some(&Value::String("string".to_owned()))
        && ["enum", "const", "format", "pattern", "maxLength"]
            .iter()
            .all(|key| parameter.get(*key).is_none());
    let words = crate::catalog::text::identifier_words(name);
    let description = parameter.get("description").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    is_plain
        && FREE_TEXT_NAMES.contains(&words.as_str())
        && !FORMAL_WORDS.iter().any(|formal| contains_word(&description, formal))
}

fn contains_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
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
        assert!(shown.contains("\"path\" is a required property"), "{shown}");
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

    #[test]
    fn only_words_for_words_are_filled_in() {
        let one = |name: &str, parameter: Value| {
            object(json!({"properties": {name: parameter}, "required": [name]}))
        };
        for (name, parameter, filled) in [
            ("query", json!({"type": "string", "description": "What to look for"}), true),
            ("searchQuery", json!({"type": "string"}), true),
            ("query", json!({"type": "string", "description": "The SQL query to run"}), false),
            ("query", json!({"type": "string", "enum": ["a"]}), false),
            ("timezone", json!({"type": "string"}), false),
            ("path", json!({"type": "string"}), false),
            ("query", json!({"type": "number"}), false),
        ] {
            assert_eq!(
                from_task(&one(name, parameter.clone()), "tea").is_some(),
                filled,
                "{name} {parameter}"
            );
        }
        assert_eq!(from_task(&object(json!({"properties": {"path": {}}})), "x"), Some(Map::new()));
        assert_eq!(from_task(&object(json!({"required": ["query", "b"]})), "x"), None);
    }
}
