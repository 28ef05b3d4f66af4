//! What is done with ranked candidates: a pure function, so that every case can be put in a table.

use rmcp::model::JsonObject;

use super::{
    arguments::{Problem, required, validate},
    infer::{Origin, asks_for, fill},
    request::mended,
};
use crate::{
    catalog::{Effect, Tool, text},
    config::{ExecuteSettings, Infer},
    router::{Candidate, confidence::Objections},
};

/// Most candidates of an ambiguous answer.
const MAX_AMBIGUOUS: usize = 5;
/// Candidates shown when even the best is unlikely.
const MIN_AMBIGUOUS: usize = 3;

/// The decision on a task. Numbers are places in the candidates.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing fits.
    NoMatch,
    /// These candidates fit about equally.
    Ambiguous(Vec<usize>),
    /// The tool is clear, its arguments are not.
    NeedsArguments {
        /// The tool, and what is understood of its arguments.
        request: Request,
        /// What is missing or wrong; nothing where it is only not certain that this is what is meant.
        problems: Vec<Problem>,
    },
    /// The tool may destroy something; a person or a model has to name it.
    NeedsConfirmation(Request),
    /// The call is safe and complete.
    Call(Request),
}

/// A tool with arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The tool, as a place in the candidates.
    pub choice: usize,
    /// Its arguments.
    pub arguments: JsonObject,
    /// Where those came from that were read from the task.
    pub origins: Vec<Origin>,
}

impl Decision {
    /// The chosen candidate, where there is one.
    pub fn choice(&self) -> Option<usize> {
        match self {
            Self::NoMatch | Self::Ambiguous(_) => None,
            Self::NeedsArguments { request, .. } | Self::NeedsConfirmation(request) | Self::Call(request) => {
                Some(request.choice)
            }
        }
    }

    /// Name of the decision, as in `status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoMatch => "no_match",
            Self::Ambiguous(_) => "ambiguous",
            Self::NeedsArguments { .. } => "needs_arguments",
            Self::NeedsConfirmation(_) => "needs_confirmation",
            Self::Call(_) => "call",
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
    let likely: Vec<usize> =
        (0..candidates.len()).filter(|place| is_likely(&candidates[*place], settings)).collect();
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
    // It is known of the nearest alone.
    if !told && choice == 0 && candidates[0].fits < settings.fits_from {
        return Decision::NoMatch;
    }
    // Where the nearest does not do it, what is further away has to be likelier than a nearest one; and where the task
    // names a service that the nearest is not of, as likely as one that is called.
    if !told && choice > 0 {
        let is_elsewhere = candidates[0].evidence.objections().other_service;
        let least = settings.no_match_below * settings.ambiguous_ratio;
        let least = if is_elsewhere { settings.ambiguous_below } else { least };
        if candidates.iter().all(|candidate| candidate.confidence < least) {
            return Decision::NoMatch;
        }
    }
    let close = close_to_best(&places, candidates, settings);
    if !told && candidates[choice].confidence < settings.ambiguous_below {
        let shown = close.max(MIN_AMBIGUOUS).min(candidates.len());
        let others = (0..candidates.len()).filter(|place| !places.contains(place));
        return Decision::Ambiguous(places.iter().copied().chain(others).take(shown).collect());
    }
    if close > 1 {
        return Decision::Ambiguous(places[..close].to_vec());
    }
    decide_on_tool(choice, &candidates[choice], task, arguments, settings)
}

/// Whether a candidate may be what is meant. One that something speaks against has to be as likely as one that is
/// called.
fn is_likely(candidate: &Candidate, settings: &ExecuteSettings) -> bool {
    let is_objected = candidate.evidence.objections() != Objections::default();
    candidate.confidence >= if is_objected { settings.ambiguous_below } else { settings.no_match_below }
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
    given: Option<&JsonObject>,
    settings: &ExecuteSettings,
) -> Decision {
    let tool = &candidate.tool;
    let given = mended(tool.input_schema(), given.cloned().unwrap_or_default());
    let given_none = given.is_empty();
    // Another clause's values are not for this tool.
    let words = candidate.clause.as_ref().map_or(task, |clause| &clause.text);
    let understood = understand(tool, words, given, settings.infer);
    let Understood { arguments, origins, certain } = understood;
    // One step of several would be done, and the answer would look as if it were all.
    let is_a_part = given_none && settings.infer == Infer::Certain && candidate.clause.is_some();
    let problems = validate(tool.input_schema(), &arguments);
    let request = Request { choice, arguments, origins };
    if !problems.is_empty() || !certain || is_a_part {
        return Decision::NeedsArguments { request, problems };
    }
    let may_destroy =
        tool.effect() == Effect::Destroys && !settings.allows_destruction(&tool.server, tool.name());
    // Arguments that somebody gives tell what the words may not.
    if may_destroy || (given_none && !asks_for(tool.effect(), task)) {
        Decision::NeedsConfirmation(request)
    } else {
        Decision::Call(request)
    }
}

/// The next tool that does the same as the one of a request, on another server: of the same name or as likely as
/// what is called unasked, for the same arguments, and no more harmful.
pub fn stand_in(candidates: &[Candidate], request: &Request, settings: &ExecuteSettings) -> Option<usize> {
    let chosen = &candidates[request.choice].tool;
    let words = |tool: &Tool| text::identifier_words(tool.name());
    let is_namesake = |tool: &Tool| words(tool) == words(chosen);
    (0..candidates.len()).find(|place| {
        let candidate = &candidates[*place];
        candidate.tool.server != chosen.server
            // The task may name the server that cannot be reached.
            && candidate.confidence_on_any_service()
                >= if is_namesake(&candidate.tool) {
                    settings.no_match_below
                } else {
                    settings.ambiguous_below
                }
            && candidate.tool.effect() <= chosen.effect().min(Effect::Adds)
            && accepts_named(candidate, &request.arguments)
    })
}

/// What is known of a tool's arguments.
struct Understood {
    arguments: JsonObject,
    origins: Vec<Origin>,
    /// Whether it is good enough for a call, where it satisfies the schema.
    certain: bool,
}

/// The given arguments, and those that the task's words tell where the given ones are not enough.
fn understand(tool: &Tool, task: &str, given: JsonObject, infer: Infer) -> Understood {
    let is_enough = !given.is_empty() && {
        let has = |name: &str| given.contains_key(name);
        required(tool.input_schema()).into_iter().all(has)
    };
    if is_enough || infer == Infer::Off {
        return Understood { arguments: given, origins: Vec::new(), certain: true };
    }
    let filled = fill(tool, task);
    // What is given besides what the task says leaves its words to doubt, unless they say the same.
    let agrees = given.iter().all(|(name, value)| filled.arguments.get(name) == Some(value));
    let is_new = |name: &str| !given.contains_key(name);
    let origins = filled.origins.into_iter().filter(|origin| is_new(&origin.parameter)).collect();
    let mut arguments = filled.arguments;
    arguments.extend(given);
    Understood { arguments, origins, certain: infer == Infer::All || (filled.certain && agrees) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rmcp::model::{Tool as Definition, ToolAnnotations};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        catalog::Tool,
        router::{ClauseMatch, confidence::Evidence},
    };

    fn object(value: Value) -> JsonObject {
        let Value::Object(object) = value else { panic!("an object") };
        object
    }

    fn candidate(name: &'static str, confidence: f32, schema: Value) -> Candidate {
        let definition = Definition::new(name, "", Arc::new(object(schema)))
            .annotate(ToolAnnotations::new().read_only(true));
        let evidence = Evidence::new(0.0, None, None, Objections::default(), false);
        let tool = Tool::new("s", definition);
        Candidate {
            tool,
            confidence,
            fits: 1.0,
            score: 0.0,
            views: None,
            dense: None,
            lexical: 0.0,
            evidence,
            example: None,
            clause: None,
        }
    }

    /// A candidate that is near, for a task that nothing seems to fit.
    fn near(name: &'static str, confidence: f32, schema: &Value) -> Candidate {
        Candidate { fits: 0.1, ..candidate(name, confidence, schema.clone()) }
    }

    /// A candidate for a task that names another service.
    fn objected(name: &'static str, confidence: f32, schema: &Value) -> Candidate {
        let objections = Objections { other_service: true, ..Objections::default() };
        let evidence = Evidence::new(0.0, None, None, objections, false);
        Candidate { evidence, ..candidate(name, confidence, schema.clone()) }
    }

    fn settings() -> ExecuteSettings {
        ExecuteSettings {
            fits_from: 0.5,
            no_match_below: 0.1,
            ambiguous_below: 0.2,
            certain_from: 0.5,
            ambiguous_ratio: 1.5,
            ..ExecuteSettings::default()
        }
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
            ("near, but nothing fits", vec![near("a", 0.3, &none), near("b", 0.2, &none)], None, "no_match"),
            (
                "nothing seems to fit, but it takes the arguments",
                vec![near("a", 0.3, &path_schema())],
                Some(&path),
                "call",
            ),
            (
                "nearest objected to",
                vec![objected("a", 0.19, &none), candidate("b", 0.15, none.clone())],
                None,
                "no_match",
            ),
            (
                "objected to, another clear",
                vec![objected("a", 0.19, &none), candidate("b", 0.3, none.clone())],
                None,
                "call",
            ),
            ("objected to, but likely", vec![objected("a", 0.3, &none)], None, "call"),
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
        let Decision::NeedsArguments { problems, request } = decision else { panic!("{decision:?}") };
        assert_eq!(problems[0].field, "path");
        assert_eq!(request.arguments, wrong);
    }

    #[test]
    fn a_tool_that_may_destroy_waits_for_confirmation_unless_it_is_allowed() {
        let destroying = |name: &'static str| {
            let mut candidate = candidate(name, 0.9, json!({"type": "object"}));
            candidate.tool = Tool::new("s", Definition::new(name, "", Arc::default()));
            [candidate]
        };
        let allowing = |entry: &str| ExecuteSettings {
            allow_destructive: vec!["other".to_owned(), entry.to_owned()],
            ..settings()
        };
        for (tool, settings, expected) in [
            ("drop", settings(), "needs_confirmation"),
            ("drop", allowing("s"), "call"),
            ("drop", allowing("s:drop"), "call"),
            ("drop", allowing("s:other"), "needs_confirmation"),
            ("drop", allowing("drop"), "needs_confirmation"),
            ("list", settings(), "call"),
            ("add", settings(), "call"),
        ] {
            assert_eq!(decide(&destroying(tool), "do it", None, &settings).name(), expected, "{tool}");
        }
        // Whatever is allowed, it has to be asked for.
        for task in ["don't do it", "How do I do it?", "I already did it"] {
            for (tool, settings) in [("drop", allowing("s")), ("add", settings())] {
                let decision = decide(&destroying(tool), task, None, &settings);
                assert_eq!(decision.name(), "needs_confirmation", "{task}: {tool}");
            }
        }
        assert_eq!(decide(&destroying("list"), "How many are there?", None, &settings()).name(), "call");
        assert_eq!(
            decide(&destroying("list"), "don't list them", None, &settings()).name(),
            "needs_confirmation"
        );
    }

    #[test]
    fn a_step_of_several_is_not_called_as_if_it_were_all() {
        let mut step = candidate("list", 0.9, json!({"type": "object", "properties": {}}));
        let clause = ClauseMatch { text: "list them".to_owned(), score: 0.5, served: 0 };
        let decide = |step: &Candidate, infer| {
            let settings = ExecuteSettings { infer, ..settings() };
            decide(std::slice::from_ref(step), "list them, then sort them", None, &settings).name()
        };
        assert_eq!(decide(&step, Infer::Certain), "call");
        step.clause = Some(clause);
        assert_eq!(decide(&step, Infer::Certain), "needs_arguments");
        assert_eq!(decide(&step, Infer::All), "call");
    }

    #[test]
    fn a_stand_in_takes_the_same_arguments_on_another_server() {
        let arguments = object(json!({"path": "/x"}));
        let on = |server: &str, confidence: f32, read_only: bool| {
            let mut candidate = candidate("look", confidence, path_schema());
            let mut definition = candidate.tool.definition().clone();
            definition.annotations = Some(ToolAnnotations::new().read_only(read_only).destructive(false));
            candidate.tool = Tool::new(server, definition);
            candidate
        };
        let chosen = on("a", 0.9, true);
        let other_schema = json!({"type": "object", "properties": {"url": {}}, "required": ["url"]});
        for (case, other, expected) in [
            ("does the same", on("b", 0.6, true), Some(1)),
            ("same server", on("a", 0.6, true), None),
            ("of the same name", on("b", 0.15, true), Some(1)),
            ("next to impossible", on("b", 0.05, true), None),
            ("unlikely", candidate("see", 0.15, path_schema()), None),
            ("more harmful", on("b", 0.6, false), None),
            ("other arguments", candidate("look", 0.6, other_schema), None),
        ] {
            let request = Request { choice: 0, arguments: arguments.clone(), origins: Vec::new() };
            assert_eq!(stand_in(&[chosen.clone(), other], &request, &settings()), expected, "{case}");
        }
    }

    #[test]
    fn the_policy_says_whether_words_are_good_enough_for_a_call() {
        let schema = json!({"type": "object", "required": ["path", "depth"], "properties": {
            "path": {"type": "string"}, "depth": {"type": "integer", "description": "How many levels"}}});
        let candidates = [candidate("tree", 0.9, schema)];
        let certain = "tree of path /src with a depth of 2";
        let vague = "tree of path /src with a depth of 2, but not the hidden ones";
        let given = object(json!({"path": "/src"}));
        let contradicting = object(json!({"path": "/lib"}));
        for (infer, task, arguments, expected) in [
            (Infer::Off, certain, None, "needs_arguments"),
            (Infer::Certain, certain, None, "call"),
            (Infer::Certain, vague, None, "needs_arguments"),
            (Infer::Certain, certain, Some(&given), "call"),
            (Infer::Certain, certain, Some(&contradicting), "needs_arguments"),
            (Infer::All, vague, None, "call"),
            (Infer::All, "tree of path /src", None, "needs_arguments"),
        ] {
            let settings = ExecuteSettings { infer, ..settings() };
            let decision = decide(&candidates, task, arguments, &settings);
            assert_eq!(decision.name(), expected, "{infer:?} {task} {arguments:?}");
        }
        let Decision::Call(request) = decide(&candidates, certain, None, &settings()) else { panic!() };
        assert_eq!(Value::Object(request.arguments), json!({"path": "/src", "depth": 2}));
        assert_eq!(request.origins.len(), 2);
    }
}
