//! The request that a model gets to send next: what is understood, a blank for what is not, and nothing that
//! the tool does not take. Also what a model meant that put parameters one level too deep or too high.

use rmcp::model::JsonObject;
use serde_json::Value;

use super::arguments::{required, validate};

/// Arguments of a request that becomes valid when each null in it is replaced by a value of the right type.
pub(super) fn with_blanks(schema: &JsonObject, understood: &JsonObject) -> JsonObject {
    let mut arguments = understood.clone();
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        arguments.retain(|name, _| is_parameter(schema, name));
    }
    for problem in validate(schema, &arguments) {
        let name = problem.field.split(['.', '[']).next().unwrap_or_default();
        if let Some(wrong) = arguments.get_mut(name) {
            *wrong = Value::Null;
        }
    }
    // Of alternatives the first, where none is there.
    let alternatives = ["anyOf", "oneOf"].iter().filter_map(|key| schema.get(*key)?.as_array());
    let wanted = alternatives.filter_map(|alternatives| {
        let lists: Vec<Vec<&str>> = alternatives
            .iter()
            .filter_map(Value::as_object)
            .map(required)
            .filter(|list| !list.is_empty())
            .collect();
        let is_there = |list: &Vec<&str>| list.iter().all(|name| arguments.contains_key(*name));
        if lists.iter().any(is_there) { None } else { lists.into_iter().next() }
    });
    let wanted: Vec<&str> = wanted.flatten().collect();
    for name in required(schema).into_iter().chain(wanted) {
        arguments.entry(name.to_owned()).or_insert(Value::Null);
    }
    arguments
}

fn is_parameter(schema: &JsonObject, name: &str) -> bool {
    schema.get("properties").is_some_and(|properties| properties.get(name).is_some())
}

/// The arguments as they were meant: those that fit as they are, else with an object that is no parameter
/// taken apart, else with parameters put into the one that has them. As they are where neither helps.
pub(super) fn mended(schema: &JsonObject, arguments: JsonObject) -> JsonObject {
    let fits = |arguments: &JsonObject| {
        arguments.keys().all(|name| is_parameter(schema, name)) && validate(schema, arguments).is_empty()
    };
    if fits(&arguments) {
        return arguments;
    }
    let others = [lifted(schema, &arguments), sunk(schema, &arguments)];
    others.into_iter().find(|other| *other != arguments && fits(other)).unwrap_or(arguments)
}

/// `{"params": {"path": "x"}}` as `{"path": "x"}`.
fn lifted(schema: &JsonObject, arguments: &JsonObject) -> JsonObject {
    let mut flat = JsonObject::new();
    for (name, value) in arguments {
        match value {
            Value::Object(inner) if !is_parameter(schema, name) => flat.extend(inner.clone()),
            value => {
                flat.insert(name.clone(), value.clone());
            }
        }
    }
    flat
}

/// `{"title": "x"}` as `{"issue": {"title": "x"}}`, where only one parameter has such a part.
fn sunk(schema: &JsonObject, arguments: &JsonObject) -> JsonObject {
    let mut deep = JsonObject::new();
    for (name, value) in arguments {
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut holders = properties
            .filter(|(_, definition)| definition["properties"].get(name).is_some())
            .map(|(holder, _)| holder);
        match (is_parameter(schema, name), holders.next(), holders.next()) {
            (false, Some(holder), None) => {
                let inner = deep.entry(holder.clone()).or_insert_with(|| Value::Object(JsonObject::new()));
                if let Value::Object(inner) = inner {
                    inner.insert(name.clone(), value.clone());
                }
            }
            _ => {
                deep.insert(name.clone(), value.clone());
            }
        }
    }
    deep
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
    fn a_request_has_blanks_for_what_is_missing_or_wrong() {
        let schema = object(json!({
            "type": "object", "required": ["path", "count"], "additionalProperties": false,
            "properties": {"path": {"type": "string"}, "count": {"type": "integer"}, "sort": {"enum": ["up", "down"]}}
        }));
        for (understood, expected) in [
            (json!({}), json!({"path": null, "count": null})),
            (json!({"path": "/x"}), json!({"path": "/x", "count": null})),
            (
                json!({"path": 5, "count": 3, "sort": "sideways"}),
                json!({"path": null, "count": 3, "sort": null}),
            ),
            (json!({"pth": "/x"}), json!({"path": null, "count": null})),
        ] {
            assert_eq!(Value::Object(with_blanks(&schema, &object(understood))), expected);
        }
        let either = object(json!({
            "type": "object", "properties": {"id": {}, "name": {}},
            "anyOf": [{"required": ["id"]}, {"required": ["name"]}]
        }));
        assert_eq!(Value::Object(with_blanks(&either, &object(json!({})))), json!({"id": null}));
        assert_eq!(Value::Object(with_blanks(&either, &object(json!({"name": "x"})))), json!({"name": "x"}));
    }

    #[test]
    fn parameters_at_the_wrong_level_are_understood() {
        let schema = object(json!({
            "type": "object", "required": ["path"], "properties": {
                "path": {"type": "string"},
                "filter": {"type": "object", "properties": {"since": {"type": "string"}}}
            }
        }));
        for (given, meant) in [
            (json!({"path": "x"}), json!({"path": "x"})),
            (json!({"arguments": {"path": "x"}}), json!({"path": "x"})),
            (json!({"path": "x", "since": "May"}), json!({"path": "x", "filter": {"since": "May"}})),
            (json!({"params": {"pth": "x"}}), json!({"params": {"pth": "x"}})),
            (json!({"path": "x", "other": 1}), json!({"path": "x", "other": 1})),
        ] {
            assert_eq!(Value::Object(mended(&schema, object(given))), meant);
        }
    }
}
