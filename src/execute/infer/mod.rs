//! Arguments from the words of a task: what in it may be a value, which value goes to which parameter, and
//! whether that is certain enough to call by.
//!
//! All values are given to parameters together, since the best for one may be better for another. It is
//! certain when nothing of the task is left over that could be meant for a parameter as well.

mod free_text;
mod mood;
mod parameter;
mod schema;
mod spans;
mod words;
mod zones;

use std::{
    collections::{BTreeSet, HashSet},
    ops::Range,
    sync::LazyLock,
};

use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::Value;

pub(super) use self::mood::asks_for;
pub use self::spans::SpanKind;
use self::{
    free_text::FreeText,
    parameter::{Around, Parameter, parameters},
    spans::{Span, spans},
    words::{alike, stems, words_at},
};
use crate::catalog::{Effect, Tool};

/// Values and parameters beyond which nothing is tried: ways to combine them grow too fast.
const MAX_SPANS: usize = 10;
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

/// Stems of words that limit what is asked for.
const LIMITING: &[&str] = &["but", "except", "if", "instead", "not", "unles", "without"];

/// Stems of words that tell a time which no rule computes.
const WHEN: &str = "afternoon day evening friday hour later midnight minut monday month morning night noon saturday sunday \
    thursday today tomorrow tonight tuesday wednesday week weekend year yesterday";

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Origin {
    /// The parameter.
    pub parameter: String,
    /// The words of the task.
    pub said: String,
    /// Where they are, in bytes.
    #[serde(skip)]
    pub place: Range<usize>,
    /// What they were recognised as.
    #[serde(rename = "as")]
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
    if parameters.is_empty() {
        return Filled { certain: true, ..Filled::default() };
    }
    let own = stems(&format!("{} {} {}", tool.server, tool.name(), tool.description())).into_iter().collect();
    let mut spans = spans_for(task, &parameters);
    // "GitLab" in a task for a tool of GitLab is no value.
    let names_itself = |span: &Span| span.kind == SpanKind::Name && is_among(&own, &span.value);
    spans.retain(|span| !names_itself(span) || !span.forms.is_empty());
    let too_many = spans.len() > MAX_SPANS || parameters.len() > MAX_PARAMETERS;
    let filled = if too_many { Filled::default() } else { assign(&own, task, &parameters, &spans) };
    let required = || parameters.iter().filter(|parameter| parameter.required);
    let missing = |filled: &Filled| -> Vec<String> {
        let open = required().filter(|parameter| !filled.arguments.contains_key(&parameter.name));
        open.map(|parameter| parameter.name.clone()).collect()
    };
    let missing = missing(&filled);
    // What is looked for or asked is the task itself, where nothing else is.
    if let ([only], 1) = (missing.as_slice(), required().count())
        && let Some(kind) = required().find_map(|parameter| parameter.free_text)
    {
        let words = from_words(tool, &own, task, only, kind, &filled.origins);
        let is_all = filled.arguments.is_empty();
        return Filled {
            arguments: filled.arguments.into_iter().chain(words.arguments).collect(),
            origins: filled.origins.into_iter().chain(words.origins).collect(),
            missing: Vec::new(),
            // Values beside words may be part of them.
            certain: words.certain && is_all,
        };
    }
    Filled { certain: filled.certain && missing.is_empty(), missing, ..filled }
}

/// The task's own words as an argument, without those that only say what the tool does, and without other
/// arguments at their end. Certain where they are only looked for.
fn from_words(
    tool: &Tool,
    own: &BTreeSet<String>,
    task: &str,
    parameter: &str,
    kind: FreeText,
    others: &[Origin],
) -> Filled {
    let mut place = topic(own, task, kind).unwrap_or(0..task.len());
    // "cats, limit 5": what begins after a comma and ends with a value is that value's.
    for other in others.iter().rev() {
        let comma = task[place.clone()].rfind(',').map(|at| place.start + at);
        if let Some(comma) = comma.filter(|comma| *comma > place.start && other.place.start > *comma) {
            place.end = comma;
        }
    }
    let said = task[place.clone()].to_owned();
    let arguments = JsonObject::from_iter([(parameter.to_owned(), Value::from(said.as_str()))]);
    let origin = Origin { parameter: parameter.to_owned(), said, place, kind: SpanKind::Task };
    let certain = tool.effect() == Effect::Reads && has_whole_quotes(task);
    Filled { arguments, origins: vec![origin], missing: Vec::new(), certain }
}

/// What a task is about: "search the web for sourdough" about "sourdough".
fn topic(own: &BTreeSet<String>, task: &str, kind: FreeText) -> Option<Range<usize>> {
    const BEFORE: [&str; 7] =
        [": ", " about ", " for ", " on ", " related to ", " regarding ", " concerning "];
    let before = if kind == FreeText::Searched { &BEFORE[..] } else { &BEFORE[..1] };
    let found = before.iter().filter_map(|before| Some((task.find(before)?, before.len())));
    let says_nothing_new = |at: usize| {
        stems(&task[..at]).iter().all(|word| asks(word) || own.iter().any(|known| alike(known, word)))
    };
    let (at, length) = found.filter(|(at, _)| says_nothing_new(*at)).min()?;
    let rest = task[at + length..].trim_end_matches(|character: char| ".?! ".contains(character));
    (!rest.is_empty()).then(|| at + length..at + length + rest.len())
}

fn asks(word: &str) -> bool {
    ASKING.contains(word)
}

/// Whether all words of a text are among these.
fn is_among(known: &BTreeSet<String>, text: &str) -> bool {
    stems(text).iter().all(|word| known.contains(word))
}

fn has_whole_quotes(task: &str) -> bool {
    task.matches('"').count().is_multiple_of(2)
}

/// All that may be a value for one of the parameters, in order.
fn spans_for(task: &str, parameters: &[Parameter]) -> Vec<Span> {
    let mut spans = halved(spans(task), parameters);
    let said = words_at(task);
    for (at, parameter) in parameters.iter().enumerate() {
        for (place, kind, form) in parameter.forms(&said) {
            let overlaps = |span: &&mut Span| span.place.start < place.end && place.start < span.place.end;
            match spans.iter_mut().find(overlaps) {
                None => spans.push(Span { value: form.clone(), place, kind, forms: vec![(at, form)] }),
                // The same but for quotes, or the whole name of a zone.
                Some(span) if span.place.len() <= place.len() + 2 => span.forms.push((at, form)),
                Some(_) => {}
            }
        }
    }
    spans.sort_by_key(|span| span.place.start);
    spans
}

/// `owner/repository` in two, where there is a parameter for either.
fn halved(spans: Vec<Span>, parameters: &[Parameter]) -> Vec<Span> {
    let owner = parameters.iter().position(|parameter| parameter.half().0);
    let project = parameters.iter().position(|parameter| parameter.half().1);
    let (Some(owner), Some(project)) = (owner, project) else { return spans };
    let half = |place: Range<usize>, value: &str, parameter: usize| Span {
        place,
        kind: SpanKind::Half,
        value: value.to_owned(),
        forms: vec![(parameter, value.to_owned())],
    };
    let parts = |span: Span| {
        let split = span.value.split_once('/').filter(|(left, right)| {
            span.kind == SpanKind::Path
                && !left.is_empty()
                && !left.starts_with('.')
                && !right.is_empty()
                && !right.contains(['/', '.'])
        });
        let Some((left, right)) = split else { return vec![span] };
        let middle = span.place.start + left.len();
        vec![half(span.place.start..middle, left, owner), half(middle + 1..span.place.end, right, project)]
    };
    spans.into_iter().flat_map(parts).collect()
}

/// The best use of the spans. What is missing is not looked at.
fn assign(own: &BTreeSet<String>, task: &str, parameters: &[Parameter], spans: &[Span]) -> Filled {
    let scores: Vec<Vec<Option<f32>>> = (0..spans.len())
        .map(|at| {
            let (span, around) = (&spans[at], Around::new(task, spans, at));
            let score = |(place, parameter): (usize, &Parameter)| {
                let form = span.form(place);
                parameter.takes(span, form).then(|| parameter.score(span, form, &around)).flatten()
            };
            parameters.iter().enumerate().map(score).collect()
        })
        .collect();
    let lists: Vec<bool> = parameters.iter().map(|parameter| parameter.is_list).collect();
    let (best, margin) = best_use(&scores, spans, &lists);
    let mut filled = Filled::default();
    for (span, place) in
        spans.iter().zip(&best.parameter_of).filter_map(|(span, place)| Some((span, (*place)?)))
    {
        let parameter = &parameters[place];
        let value = parameter.value_of(span.form(place).unwrap_or(&span.value));
        filled.origins.push(Origin {
            parameter: parameter.name.clone(),
            said: task[span.place.clone()].to_owned(),
            place: span.place.clone(),
            kind: span.kind,
        });
        match (parameter.is_list, filled.arguments.get_mut(&parameter.name)) {
            (true, Some(Value::Array(values))) => values.push(value),
            (true, _) => {
                filled.arguments.insert(parameter.name.clone(), Value::Array(vec![value]));
            }
            (false, _) => {
                filled.arguments.insert(parameter.name.clone(), value);
            }
        }
    }
    let used: Vec<usize> = best.parameter_of.iter().flatten().copied().collect();
    let lowest = scores
        .iter()
        .zip(&best.parameter_of)
        .filter_map(|(scores, parameter)| scores[(*parameter)?])
        .fold(f32::MAX, f32::min);
    let is_doubtful =
        |(span, parameter): (&Span, &Option<usize>)| parameter.is_some() && span.kind == SpanKind::Compound;
    let is_left = |(span, parameter): (&Span, &Option<usize>)| {
        parameter.is_none() && !span.is_bound() && span.kind != SpanKind::Compound
    };
    filled.certain = margin >= CERTAIN_MARGIN
        && lowest >= CERTAIN_SCORE
        && !spans.iter().zip(&best.parameter_of).any(|used| is_left(used) || is_doubtful(used))
        && has_whole_quotes(task)
        && !says_more(own, parameters, &used, task, spans, &best.parameter_of);
    filled
}

/// The best of all ways to use the spans, and how far it is ahead of the next: not at all, where there are too
/// many ways to look at.
fn best_use(scores: &[Vec<Option<f32>>], spans: &[Span], lists: &[bool]) -> (Use, f32) {
    // A name may be part of the sentence; a number or what is quoted is there to be used.
    let unused = |at: usize| if spans[at].kind.may_be_no_value() { 0.0 } else { -UNUSED };
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
        let free = scores[at]
            .iter()
            .enumerate()
            .filter(|(at, _)| lists[*at] || !way.parameter_of.contains(&Some(*at)));
        let mut choices: Vec<(Option<usize>, f32)> =
            free.filter_map(|(parameter, score)| Some((Some(parameter), (*score)?))).collect();
        choices.push((None, unused(at)));
        // The best comes last, and is looked at first; of equals the one that the tool names first.
        choices.sort_by(|left, right| left.1.total_cmp(&right.1).then(right.0.cmp(&left.0)));
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
fn says_more(
    own: &BTreeSet<String>,
    parameters: &[Parameter],
    filled: &[usize],
    task: &str,
    spans: &[Span],
    parameter_of: &[Option<usize>],
) -> bool {
    let is_open = |at: &usize| !filled.contains(at);
    let open: Vec<&Parameter> = (0..parameters.len()).filter(is_open).map(|at| &parameters[at]).collect();
    let said = stems(task);
    let used: BTreeSet<&String> = filled.iter().flat_map(|at| parameters[*at].key()).collect();
    let is_named = |parameter: &&Parameter| {
        let names_it = |word: &String| said.contains(word) && !used.contains(word) && !own.contains(word);
        parameter.key().iter().any(names_it) || parameter.is_chosen(&said)
    };
    if open.iter().any(is_named) {
        return true;
    }
    let explained: BTreeSet<&String> =
        own.iter().chain(filled.iter().flat_map(|at| parameters[*at].explained())).collect();
    let mut rest = task.to_owned();
    let values = spans.iter().zip(parameter_of).filter(|(span, place)| place.is_some() || !span.is_bound());
    for (span, _) in values.rev() {
        rest.replace_range(span.place.clone(), " ");
    }
    let rest = stems(&rest);
    if rest.iter().any(|word| LIMITING.contains(&word.as_str())) {
        return true;
    }
    let is_when = |word: &String| WHEN.split(' ').any(|when| when == word);
    if rest.iter().any(is_when) && open.iter().any(|parameter| parameter.is_about_time()) {
        return true;
    }
    if !open.iter().any(|parameter| parameter.takes_words()) {
        return false;
    }
    let is_new = |word: &String| {
        word.chars().count() > 1 && !asks(word) && !explained.iter().any(|known| alike(known, word))
    };
    rest.iter().any(is_new)
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
    fn a_time_that_is_said_is_not_left_out() {
        let schema = json!({
            "type": "object", "required": ["title"],
            "properties": {"title": {"type": "string"}, "start_time": {"type": "string", "format": "date-time"}}
        });
        let tool = tool("create_event", "Create an event in the calendar", &schema);
        assert!(fill(&tool, r#"Create an event with the title "Review""#).certain);
        for when in ["tomorrow", "next week", "on Friday", "at noon"] {
            let task = format!(r#"Create an event with the title "Review" {when}"#);
            assert!(!fill(&tool, &task).certain, "{task}");
        }
    }

    #[test]
    fn words_to_look_for_leave_other_arguments_alone() {
        let schema = json!({
            "type": "object", "required": ["query"],
            "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "description": "How many"}}
        });
        let tool = tool("search_articles", "Search articles", &schema);
        assert_eq!(
            filled(&tool, "search articles about cats, limit 5"),
            (json!({"query": "cats", "limit": 5}), false)
        );
        assert_eq!(filled(&tool, "search articles about cats"), (json!({"query": "cats"}), true));
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
