//! Arguments from the words of a task: what in it may be a value, which value goes to which parameter, and
//! whether that is certain enough to call by.
//!
//! All values are given to parameters together, since the best for one may be better for another. It is
//! certain when nothing of the task is left over that could be meant for a parameter as well.

mod parameter;
mod spans;
mod words;

use std::{
    collections::{BTreeSet, HashSet},
    ops::Range,
    sync::LazyLock,
};

use rmcp::model::JsonObject;

pub use self::spans::SpanKind;
use self::{
    parameter::{Around, Parameter, parameters},
    spans::{Span, spans},
    words::{alike, stems},
};
use crate::catalog::Tool;

/// Values and parameters beyond which nothing is tried: ways to combine them grow too fast.
const MAX_SPANS: usize = 7;
const MAX_PARAMETERS: usize = 14;
const MAX_WAYS: usize = 5_000;
/// What it costs to leave a value unused.
const UNUSED: f32 = 0.6;
/// What the best way to use the values must be ahead of the next, and what each single value must have, to be
/// certain. Chosen on the dev split of Seal-Tools; the rules that they judge were made looking at both splits.
const CERTAIN_MARGIN: f32 = 0.3;
const CERTAIN_SCORE: f32 = 1.3;

/// Stems of words that ask, and say nothing of what for.
static ASKING: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    "a about all an and any are as at be by calculat call can check could creat current data detail \
     determin do dur fetch find for from generat get giv given has hav how i in information inform is \
     it its list m many me much my nam need of on out overview pleas provid report retriev s show \
     specific tell that th the this to updat us using want was wer what which who will with would you"
        .split(' ')
        .collect()
});

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The parameter.
    pub parameter: String,
    /// Where in the task, in bytes.
    pub place: Range<usize>,
    /// What it was recognised as.
    pub kind: SpanKind,
}

/// What a task says of a tool's arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filled {
    /// The arguments.
    pub arguments: JsonObject,
    /// Where each came from.
    pub origins: Vec<Origin>,
    /// Required parameters that the task says nothing of.
    pub missing: Vec<String>,
    /// Whether they are all that the task says, and each for its parameter beyond doubt.
    pub certain: bool,
}

/// One way to use the spans: for each the parameter, if any.
#[derive(Debug, Clone, Default)]
struct Use {
    score: f32,
    parameter_of: Vec<Option<usize>>,
}

/// Fills in a tool's parameters from a task.
pub fn fill(tool: &Tool, task: &str) -> Filled {
    let parameters = parameters(tool.input_schema());
    let spans = spans(task);
    let missing = |filled: &[usize]| -> Vec<String> {
        let open = parameters.iter().enumerate().filter(|(at, _)| !filled.contains(at));
        open.filter(|(_, parameter)| parameter.required)
            .map(|(_, parameter)| parameter.name.clone())
            .collect()
    };
    if parameters.is_empty() {
        return Filled { certain: true, ..Filled::default() };
    }
    if spans.len() > MAX_SPANS || parameters.len() > MAX_PARAMETERS {
        return Filled { missing: missing(&[]), ..Filled::default() };
    }
    let scores: Vec<Vec<Option<f32>>> = (0..spans.len())
        .map(|at| {
            let around = Around::new(task, &spans, at);
            let score = |parameter: &Parameter| parameter.score(&spans[at], &around);
            parameters.iter().map(|parameter| parameter.takes(&spans[at]).then(|| score(parameter))).collect()
        })
        .collect();
    let (best, margin) = best_use(&scores, &spans);
    let filled: Vec<usize> = best.parameter_of.iter().flatten().copied().collect();
    let pairs =
        spans.iter().zip(&best.parameter_of).filter_map(|(span, parameter)| Some((span, (*parameter)?)));
    let arguments =
        pairs.clone().map(|(span, at)| (parameters[at].name.clone(), parameters[at].value_of(span)));
    let origins = pairs.map(|(span, at)| Origin {
        parameter: parameters[at].name.clone(),
        place: span.place.clone(),
        kind: span.kind,
    });
    let lowest = scores
        .iter()
        .zip(&best.parameter_of)
        .filter_map(|(scores, parameter)| scores[(*parameter)?])
        .fold(f32::MAX, f32::min);
    let missing = missing(&filled);
    let certain = missing.is_empty()
        && margin >= CERTAIN_MARGIN
        && lowest >= CERTAIN_SCORE
        && best.parameter_of.iter().all(Option::is_some)
        && task.matches('"').count().is_multiple_of(2)
        && !says_more(tool, &parameters, &filled, task, &spans);
    Filled { arguments: arguments.collect(), origins: origins.collect(), missing, certain }
}

/// The best of all ways to use the spans, and how far it is ahead of the next: not at all, where there are too
/// many ways to look at.
fn best_use(scores: &[Vec<Option<f32>>], spans: &[Span]) -> (Use, f32) {
    // A name may be part of the sentence; a number or what is quoted is there to be used.
    let unused = |at: usize| if spans[at].kind == SpanKind::Name { 0.0 } else { -UNUSED };
    // The most that spans from here on can add.
    let mut most = vec![0.0; spans.len() + 1];
    for at in (0..spans.len()).rev() {
        most[at] = most[at + 1] + scores[at].iter().flatten().copied().fold(unused(at), f32::max);
    }
    let mut best = Use { score: f32::MIN, parameter_of: Vec::new() };
    let mut second = f32::MIN;
    let mut ways = vec![Use::default()];
    let mut seen = 0;
    while let Some(way) = ways.pop() {
        let at = way.parameter_of.len();
        seen += 1;
        if seen > MAX_WAYS {
            second = best.score;
            break;
        }
        if way.score + most[at] <= second {
            continue;
        }
        if at == spans.len() {
            second = second.max(way.score.min(best.score));
            if way.score > best.score {
                best = way;
            }
            continue;
        }
        let free = scores[at].iter().enumerate().filter(|(at, _)| !way.parameter_of.contains(&Some(*at)));
        let mut choices: Vec<(Option<usize>, f32)> =
            free.filter_map(|(parameter, score)| Some((Some(parameter), (*score)?))).collect();
        choices.push((None, unused(at)));
        // The best comes last, and is looked at first.
        choices.sort_by(|left, right| left.1.total_cmp(&right.1));
        ways.extend(choices.into_iter().map(|(parameter, score)| {
            let mut parameter_of = way.parameter_of.clone();
            parameter_of.push(parameter);
            Use { score: way.score + score, parameter_of }
        }));
    }
    let margin = best.score - second;
    (best, margin)
}

/// Whether the task says something that may be meant for a parameter that is not filled in.
fn says_more(tool: &Tool, parameters: &[Parameter], filled: &[usize], task: &str, spans: &[Span]) -> bool {
    let is_open = |at: &usize| !filled.contains(at);
    let open: Vec<&Parameter> = (0..parameters.len()).filter(is_open).map(|at| &parameters[at]).collect();
    let said = stems(task);
    let own: BTreeSet<String> =
        stems(&format!("{} {} {}", tool.server, tool.name(), tool.description())).into_iter().collect();
    let used: BTreeSet<&String> = filled.iter().flat_map(|at| parameters[*at].key()).collect();
    let is_named = |parameter: &&Parameter| {
        let names_it = |word: &String| said.contains(word) && !used.contains(word) && !own.contains(word);
        parameter.key().iter().any(names_it) || parameter.is_chosen(&said)
    };
    if open.iter().any(is_named) {
        return true;
    }
    if !open.iter().any(|parameter| parameter.takes_words()) {
        return false;
    }
    let explained: BTreeSet<&String> =
        own.iter().chain(filled.iter().flat_map(|at| parameters[*at].explained())).collect();
    let mut rest = task.to_owned();
    for span in spans.iter().rev() {
        rest.replace_range(span.place.clone(), " ");
    }
    let is_new = |word: &String| {
        word.chars().count() > 1
            && !ASKING.contains(word.as_str())
            && !explained.iter().any(|known| alike(known, word))
    };
    stems(&rest).iter().any(is_new)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn tool(name: &'static str, description: &'static str, schema: &Value) -> Tool {
        let schema = Arc::new(schema.as_object().unwrap().clone());
        Tool::new("test", rmcp::model::Tool::new(name, description, schema))
    }

    fn transfer() -> Tool {
        tool(
            "transfer",
            "Transfer money between accounts",
            &json!({
                "type": "object",
                "required": ["from_account", "to_account", "amount"],
                "properties": {
                    "from_account": {"type": "string", "description": "Account the money is taken from"},
                    "to_account": {"type": "string", "description": "Account that gets the money"},
                    "amount": {"type": "number", "description": "How much"},
                    "currency": {"type": "string", "enum": ["EUR", "USD"]},
                    "memo": {"type": "string", "description": "What it is for"}
                }
            }),
        )
    }

    fn filled(tool: &Tool, task: &str) -> (Value, bool) {
        let filled = fill(tool, task);
        (Value::Object(filled.arguments), filled.certain)
    }

    #[test]
    fn values_go_to_the_parameters_that_the_words_around_them_name() {
        let task = r#"Transfer an amount of 12.50 from account "A-1" to account "B-2"."#;
        let (arguments, certain) = filled(&transfer(), task);
        assert_eq!(arguments, json!({"from_account": "A-1", "to_account": "B-2", "amount": 12.5}));
        assert!(certain);
        let origins = fill(&transfer(), task).origins;
        assert!(
            origins
                .iter()
                .any(|origin| origin.parameter == "amount" && &task[origin.place.clone()] == "12.50")
        );
    }

    #[test]
    fn what_is_missing_is_told() {
        let found = fill(&transfer(), r#"Transfer money from account "A-1"."#);
        assert_eq!(found.missing, ["to_account", "amount"]);
        assert!(!found.certain);
    }

    #[test]
    fn nothing_is_certain_while_the_task_says_more() {
        let more = [
            r#"Transfer an amount of 12.50 from account "A-1" to account "B-2" with a memo on rent."#,
            r#"Transfer an amount of 12.50 usd from account "A-1" to account "B-2"."#,
            r#"Transfer an amount of 12.50 from account "A-1" to account "B-2" for yesterday's pizza."#,
            r#"Transfer an amount of 12.50 from account "A-1" to account "B-2" or "C-3"."#,
            r#"Transfer an amount of 12.50 from account "A-1" to account "B-2"#,
        ];
        for task in more {
            assert!(!fill(&transfer(), task).certain, "{task}");
        }
    }

    #[test]
    fn a_value_has_the_type_of_its_parameter() {
        let schema = json!({
            "type": "object", "required": ["user_id"],
            "properties": {"user_id": {"type": "integer"}, "email": {"type": "string"}, "active": {"type": "boolean"}}
        });
        let tool = tool("find_user", "Find a user", &schema);
        assert_eq!(filled(&tool, "Find the user with ID 8.").0, json!({"user_id": 8}));
        assert_eq!(filled(&tool, "Find the user a@b.example.").0, json!({"email": "a@b.example"}));
        assert_eq!(fill(&tool, r#"Find the user with ID "eight"."#).arguments.get("user_id"), None);
    }

    #[test]
    fn a_tool_without_parameters_is_always_certain() {
        assert_eq!(
            filled(&tool("now", "Tell the time", &json!({"type": "object"})), "what is it"),
            (json!({}), true)
        );
    }

    #[test]
    fn many_ways_to_use_values_end_soon() {
        let names: Vec<String> = (0..MAX_PARAMETERS).map(|at| format!("p{at}")).collect();
        let properties: serde_json::Map<String, Value> =
            names.iter().map(|name| (name.clone(), json!({"type": "string"}))).collect();
        let tool = tool("many", "Many", &json!({"type": "object", "properties": properties}));
        let found = fill(&tool, r#""a" "b" "c" "d" "e" "f" "g""#);
        assert!(!found.certain && found.arguments.len() <= MAX_SPANS);
    }

    proptest! {
        #[test]
        fn all_values_come_from_the_task(task in "[a-zA-Z0-9\"' .,/:@-]{0,80}") {
            let found = fill(&transfer(), &task);
            prop_assert_eq!(found.origins.len(), found.arguments.len());
            for origin in &found.origins {
                prop_assert!(task.get(origin.place.clone()).is_some());
            }
            prop_assert!(!found.certain || found.missing.is_empty());
        }
    }
}
