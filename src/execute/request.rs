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
    use crate::execute::infer::fill;

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

    /// A value of the right type, as a model would fill one in.
    fn value_of(definition: &Value, schema: &JsonObject) -> Value {
        let of = |definition: &Value| value_of(definition, schema);
        if let Some(path) = definition["$ref"].as_str() {
            let root = Value::Object(schema.clone());
            return of(root.pointer(path.trim_start_matches('#')).unwrap());
        }
        if let Some(constant) = definition.get("const") {
            return constant.clone();
        }
        for key in ["enum", "examples"] {
            if let Some(first) = definition[key].as_array().and_then(|values| values.first()) {
                return first.clone();
            }
        }
        for key in ["anyOf", "oneOf", "allOf"] {
            let variants = definition[key].as_array().into_iter().flatten();
            if let Some(variant) = variants.into_iter().find(|variant| variant["type"] != "null") {
                return of(variant);
            }
        }
        let kind = definition["type"].as_array().map_or(&definition["type"], |kinds| &kinds[0]);
        match kind.as_str() {
            Some("string") if definition["pattern"].is_string() => {
                let pattern = regex::Regex::new(definition["pattern"].as_str().unwrap()).unwrap();
                let known = ["PROJ-1", "PROJ", "a=b", "2026-11-23", "1:2", "a.png", "a", "1"];
                json!(known.iter().find(|text| pattern.is_match(text)).expect("one of these matches"))
            }
            Some("string") => match definition["format"].as_str() {
                Some("uri") => json!("https://example.org/"),
                Some("date-time") => json!("2026-11-23T09:30:00Z"),
                _ => {
                    let length = definition["minLength"].as_u64().unwrap_or(1).max(1);
                    json!("x".repeat(usize::try_from(length).unwrap()))
                }
            },
            Some("integer" | "number") => {
                let least = definition["minimum"]
                    .as_f64()
                    .or(definition["exclusiveMinimum"].as_f64().map(|least| least + 1.0));
                #[expect(clippy::cast_possible_truncation, reason = "a small number")]
                let least = least.unwrap_or(1.0).ceil() as i64;
                json!(least)
            }
            Some("boolean") => json!(true),
            Some("array") => {
                let count = definition["minItems"].as_u64().unwrap_or(1).max(1);
                (0..count)
                    .map(|_| of(definition.get("items").unwrap_or(&json!({"type": "string"}))))
                    .collect()
            }
            Some("null") => Value::Null,
            _ => {
                let object = definition.as_object().cloned().unwrap_or_default();
                let filled = required(&object)
                    .into_iter()
                    .map(|name| (name.to_owned(), of(&definition["properties"][name])));
                Value::Object(filled.collect())
            }
        }
    }

    #[test]
    fn every_request_for_a_real_tool_is_valid_once_its_blanks_are_filled() {
        let Some(tools) = crate::catalog::recorded_tools() else { return };
        let tasks = include_str!("../../tests/data/actions/tasks.jsonl").lines();
        let tasks: Vec<String> = tasks
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["query"].as_str().unwrap().to_owned())
            .collect();
        let mut left = Vec::new();
        for (at, tool) in tools.iter().enumerate() {
            let schema = tool.input_schema();
            for task in tasks.iter().skip(at % 20).step_by(20) {
                let mut request = with_blanks(schema, &fill(tool, task).arguments);
                for (name, value) in request.iter_mut().filter(|(_, value)| value.is_null()) {
                    *value = value_of(&schema["properties"][name], schema);
                }
                let problems = validate(schema, &request);
                if !problems.is_empty() {
                    left.push(format!("{} {request:?} {problems:?}", tool.id()));
                    break;
                }
            }
        }
        assert!(left.is_empty(), "{} of {}: {}", left.len(), tools.len(), left.join("\n"));
    }
}
