//! What is done with ranked candidates: a pure function, so that every case can be put in a table.

use rmcp::model::JsonObject;

use super::arguments::{Problem, from_task, required, validate};
use crate::{config::ExecuteSettings, router::Candidate};

/// Most candidates of an ambiguous answer.
const MAX_AMBIGUOUS: usize = 5;
/// Candidates shown when even the best is unlikely.
const MIN_AMBIGUOUS: usize = 3;

/// The decision on a task. `choice` is a place in the candidates.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing fits.
    NoMatch,
    /// These candidates fit about equally.
    Ambiguous(Vec<usize>),
    /// The tool is clear, its arguments are not.
    NeedsArguments {
        /// The tool.
        choice: usize,
        /// Arguments that were given.
        understood: JsonObject,
        /// What is missing or wrong.
        problems: Vec<Problem>,
    },
    /// The tool may destroy something; a person or a model has to name it.
    NeedsConfirmation {
        /// The tool.
        choice: usize,
        /// Its arguments.
        arguments: JsonObject,
    },
    /// The call is safe and complete.
    Call {
        /// The tool.
        choice: usize,
        /// Its arguments.
        arguments: JsonObject,
    },
}

impl Decision {
    /// The chosen candidate, where there is one.
    pub fn choice(&self) -> Option<usize> {
        match self {
            Self::NoMatch | Self::Ambiguous(_) => None,
            Self::NeedsArguments { choice, .. }
            | Self::NeedsConfirmation { choice, .. }
            | Self::Call { choice, .. } => Some(*choice),
        }
    }

    /// Name of the decision, as in `status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoMatch => "no_match",
            Self::Ambiguous(_) => "ambiguous",
            Self::NeedsArguments { .. } => "needs_arguments",
            Self::NeedsConfirmation { .. } => "needs_confirmation",
            Self::Call { .. } => "call",
        }
    }
}

/// Decides on candidates, best first.
pub fn decide(
    candidates: &[Candidate],
    task: &str,
    arguments: Option<&JsonObject>,
    settings: &ExecuteSettings,
) -> Decision {
    let likely: Vec<usize> = (0..candidates.len())
        .filter(|place| candidates[*place].confidence >= settings.no_match_below)
        .collect();
    // Of tools that are likely enough, given arguments tell which can be meant: those that take them.
    let taking: Vec<usize> = match arguments.filter(|arguments| !arguments.is_empty()) {
        Some(given) => {
            likely.iter().copied().filter(|place| accepts_named(&candidates[*place], given)).collect()
        }
        None => Vec::new(),
    };
    let told = !taking.is_empty();
    let places = if told { taking } else { likely };
    let Some(choice) = places.first().copied() else {
        return Decision::NoMatch;
    };
    let close = close_to_best(&places, candidates, settings);
    if !told && candidates[choice].confidence < settings.ambiguous_below {
        let shown = close.max(MIN_AMBIGUOUS).min(candidates.len());
        return Decision::Ambiguous((0..shown).collect());
    }
    if close > 1 {
        return Decision::Ambiguous(places[..close].to_vec());
    }
    decide_on_tool(choice, &candidates[choice], task, arguments)
}

/// How many of the candidates at `places` are about as likely as the first of them, itself included.
fn close_to_best(places: &[usize], candidates: &[Candidate], settings: &ExecuteSettings) -> usize {
    let confidence = |place: &usize| candidates[*place].confidence;
    let best = places.first().map_or(0.0, confidence);
    if best >= settings.certain_from {
        return 1;
    }
    let near = |place: &&usize| confidence(place) * settings.ambiguous_ratio > best;
    places.iter().take(MAX_AMBIGUOUS).take_while(near).count()
}

/// Whether arguments satisfy a tool's schema and every one of them is a parameter of it.
fn accepts_named(candidate: &Candidate, arguments: &JsonObject) -> bool {
    let schema = candidate.tool.input_schema();
    let is_parameter =
        |name: &String| schema.get("properties").is_some_and(|properties| properties.get(name).is_some());
    arguments.keys().all(is_parameter) && validate(schema, arguments).is_empty()
}

fn decide_on_tool(
    choice: usize,
    candidate: &Candidate,
    task: &str,
    arguments: Option<&JsonObject>,
) -> Decision {
    let schema = candidate.tool.input_schema();
    let arguments = match arguments.filter(|given| !given.is_empty()) {
        Some(given) => {
            let problems = validate(schema, given);
            if !problems.is_empty() {
                return Decision::NeedsArguments { choice, understood: given.clone(), problems };
            }
            given.clone()
        }
        None => {
            if let Some(arguments) = from_task(schema, task) {
                arguments
            } else {
                let missing =
                    |name: &str| Problem { field: name.to_owned(), problem: "is required".to_owned() };
                let problems = required(schema).into_iter().map(missing).collect();
                return Decision::NeedsArguments { choice, understood: JsonObject::new(), problems };
            }
        }
    };
    if candidate.tool.is_destructive() {
        Decision::NeedsConfirmation { choice, arguments }
    } else {
        Decision::Call { choice, arguments }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rmcp::model::{Tool as Definition, ToolAnnotations};
    use serde_json::{Value, json};

    use super::*;
    use crate::{catalog::Tool, router::confidence::Evidence};

    fn object(value: Value) -> JsonObject {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    fn candidate(name: &'static str, confidence: f32, schema: Value) -> Candidate {
        let definition = Definition::new(name, "", Arc::new(object(schema)));
        let evidence = Evidence::new(0.0, None);
        let tool = Tool::new("s", definition);
        Candidate {
            tool,
            confidence,
            score: 0.0,
            views: None,
            dense: None,
            lexical: 0.0,
            evidence,
            example: None,
            clause: None,
        }
    }

    fn settings() -> ExecuteSettings {
        ExecuteSettings { no_match_below: 0.1, ambiguous_below: 0.2, certain_from: 0.5, ambiguous_ratio: 1.5 }
    }

    fn path_schema() -> Value {
        json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]})
    }

    #[test]
    fn each_case_has_its_decision() {
        let none = json!({"type": "object", "properties": {}});
        let words =
            json!({"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]});
        let two_schema =
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]});
        let path = object(json!({"path": "/x"}));
        let cases: Vec<(&str, Vec<Candidate>, Option<&JsonObject>, &str)> = vec![
            ("nothing found", vec![], None, "no_match"),
            ("nothing likely", vec![candidate("a", 0.05, none.clone())], None, "no_match"),
            ("clear, needs none", vec![candidate("a", 0.9, none.clone())], None, "call"),
            ("clear, takes words", vec![candidate("a", 0.9, words.clone())], None, "call"),
            ("clear, arguments missing", vec![candidate("a", 0.9, path_schema())], None, "needs_arguments"),
            ("clear, arguments given", vec![candidate("a", 0.9, path_schema())], Some(&path), "call"),
            (
                "two alike",
                vec![candidate("a", 0.4, none.clone()), candidate("b", 0.35, none.clone())],
                None,
                "ambiguous",
            ),
            (
                "one ahead",
                vec![candidate("a", 0.4, none.clone()), candidate("b", 0.1, none.clone())],
                None,
                "call",
            ),
            (
                "one ahead, but unlikely",
                vec![candidate("a", 0.15, none.clone()), candidate("b", 0.02, none.clone())],
                None,
                "ambiguous",
            ),
            (
                "less likely, but the only one that takes them",
                vec![candidate("a", 0.4, words.clone()), candidate("b", 0.15, path_schema())],
                Some(&path),
                "call",
            ),
            (
                "the only one that takes them, but next to impossible",
                vec![candidate("a", 0.05, path_schema())],
                Some(&path),
                "no_match",
            ),
            (
                "clear, and what takes them is next to impossible",
                vec![candidate("a", 0.9, two_schema), candidate("b", 0.06, path_schema())],
                Some(&path),
                "needs_arguments",
            ),
            (
                "two take them alike",
                vec![candidate("a", 0.3, path_schema()), candidate("b", 0.29, path_schema())],
                Some(&path),
                "ambiguous",
            ),
            (
                "two alike, one takes them",
                vec![candidate("a", 0.4, none), candidate("b", 0.35, path_schema())],
                Some(&path),
                "call",
            ),
        ];
        for (case, candidates, arguments, expected) in cases {
            assert_eq!(decide(&candidates, "do it", arguments, &settings()).name(), expected, "{case}");
        }
    }

    #[test]
    fn wrong_arguments_are_named_and_not_sent() {
        let wrong = object(json!({"path": 5}));
        let decision = decide(&[candidate("a", 0.9, path_schema())], "x", Some(&wrong), &settings());
        let Decision::NeedsArguments { problems, understood, .. } = decision else { panic!("{decision:?}") };
        assert_eq!(problems[0].field, "path");
        assert_eq!(understood, wrong);
    }

    #[test]
    fn a_destructive_tool_waits_for_confirmation() {
        let mut destroying = candidate("drop", 0.9, json!({"type": "object"}));
        let mut definition = destroying.tool.definition().clone();
        definition.annotations = Some(ToolAnnotations::new().destructive(true));
        destroying.tool = Tool::new("s", definition);
        assert_eq!(decide(&[destroying], "drop it", None, &settings()).name(), "needs_confirmation");
    }
}
