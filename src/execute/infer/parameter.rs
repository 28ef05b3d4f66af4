//! What a parameter says of itself: which values it takes, and by which words a task would introduce one.

use std::ops::Range;

use regex::Regex;
use rmcp::model::JsonObject;
use serde_json::Value;

use super::{
    free_text::{FreeText, free_text},
    schema::{plain, type_of},
    spans::{Span, SpanKind},
    words::{alike, stem, stems},
    zones::zone_of,
};
use crate::execute::arguments::required;

/// Words of names that many parameters have.
const COMMON: &[&str] = &["id", "nam", "number", "valu", "type", "of", "th"];
/// How much a word that is said right before the value counts, and what each word between takes away.
const SAID_BEFORE: f32 = 2.0;
const DISTANCE: f32 = 0.08;
/// How much one counts that is said right after it.
const SAID_AFTER: f32 = 1.2;
/// How much a word of the description counts, and how much right beside a number: "first 5 lines".
const DESCRIBED: f32 = 0.25;
const BESIDE_NUMBER: f32 = 0.7;
/// How much it counts that a parameter is meant for values of the span's kind.
const KIND: f32 = 1.0;
/// How much it counts against an address, a date or a time that nothing says it is meant for such.
const MISFIT: f32 = 0.8;
/// How much it counts that the description gives the value as an example.
const EXAMPLE: f32 = 1.5;
/// How much it counts that a parameter has to be filled in.
const REQUIRED: f32 = 0.5;
/// How much it counts that a word is one of the values that a parameter takes, or its name where it is on or off.
const FORM: f32 = 1.0;
/// How much it counts that words name a time zone, where one is wanted, and how much that the time of the
/// one to convert from is said beside it.
const ZONE: f32 = 1.3;
const BESIDE_TIME: f32 = 0.5;
/// Words of a parameter that is on or off which say nothing of what.
const SWITCHING: &[&str] = &["includ", "show", "is", "has", "us", "enabl", "with", "allow", "only"];
/// Words that turn one off.
const NEGATING: &[&str] = &["not", "no", "without", "don", "never", "exclud", "skip"];

/// Types of values, as far as a task's words can tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Integer,
    Number,
    /// On or off.
    Switch,
    /// An object, or several types: not filled in from words.
    Other,
}

/// A parameter of a tool.
pub(super) struct Parameter {
    pub name: String,
    pub required: bool,
    value: Type,
    /// Whether it takes a list of such values.
    pub is_list: bool,
    choices: Vec<String>,
    is_zone: bool,
    /// What a text has to look like.
    pattern: Option<Regex>,
    pub free_text: Option<FreeText>,
    /// Stems of the name without the common ones, unless it has no other.
    key: Vec<String>,
    all: Vec<String>,
    described: Vec<String>,
    examples: Vec<String>,
}

/// What stands around a span, up to the next ones.
pub(super) struct Around {
    /// Whether a time of day is the value before or after.
    beside_time: bool,
    before: Vec<String>,
    after: Vec<String>,
}

/// All parameters of a schema.
pub(super) fn parameters(schema: &JsonObject) -> Vec<Parameter> {
    let required = required(schema);
    let properties = schema.get("properties").and_then(Value::as_object);
    let of = |(name, definition): (&String, &Value)| {
        Parameter::new(name, definition, schema, required.contains(&name.as_str()))
    };
    properties.into_iter().flatten().map(of).collect()
}

impl Parameter {
    fn new(name: &str, definition: &Value, schema: &JsonObject, required: bool) -> Self {
        let described = definition.get("description").and_then(Value::as_str).unwrap_or_default();
        let outer = plain(definition, schema);
        let is_list = type_of(outer) == Some("array");
        let value =
            if is_list { outer.get("items").map_or(outer, |items| plain(items, schema)) } else { outer };
        let all = stems(name);
        let examples = described.split_once("e.g.").map_or("", |(_, examples)| examples);
        let examples = examples.split(')').next().unwrap_or_default().trim_start_matches(',').split(',');
        let value_format = value.get("format").and_then(Value::as_str).unwrap_or_default().to_owned();
        let pattern =
            value.get("pattern").and_then(Value::as_str).and_then(|pattern| Regex::new(pattern).ok());
        let choices = value.get("enum").and_then(Value::as_array).into_iter().flatten();
        let value = match type_of(value) {
            Some("string") => Type::Text,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Switch,
            _ => Type::Other,
        };
        let says_nothing = |word: &&String| {
            COMMON.contains(&word.as_str()) || (value == Type::Switch && SWITCHING.contains(&word.as_str()))
        };
        let key: Vec<String> = all.iter().filter(|word| !says_nothing(word)).cloned().collect();
        let joined = all.concat();
        Self {
            name: name.to_owned(),
            required,
            value,
            is_list,
            pattern,
            choices: choices.filter_map(Value::as_str).map(str::to_owned).collect(),
            is_zone: value == Type::Text && (joined.contains("timzon") || joined.contains("timezon")),
            free_text: free_text(name, definition),
            key: if key.is_empty() { all.clone() } else { key },
            all,
            described: stems(&format!("{} {value_format}", described.split('(').next().unwrap_or_default())),
            examples: examples
                .map(|example| example.trim().to_lowercase())
                .filter(|example| !example.is_empty())
                .collect(),
        }
    }

    /// Places in the task, given by its words, that this parameter alone takes for a value, with the value.
    pub(super) fn forms(&self, said: &[(Range<usize>, String)]) -> Vec<(Range<usize>, SpanKind, String)> {
        let stems: Vec<String> = said.iter().map(|(_, word)| stem(word)).collect();
        if self.is_zone {
            let words: Vec<&str> = said.iter().map(|(_, word)| word.as_str()).collect();
            let zones = (0..said.len()).filter_map(|at| {
                let (zone, count) = zone_of(&words[at..])?;
                Some((said[at].0.start..said[at + count - 1].0.end, SpanKind::TimeZone, zone.to_owned()))
            });
            return zones.collect();
        }
        if self.value == Type::Switch {
            return self.switched(said, &stems).into_iter().collect();
        }
        let of_choice = |choice: &String| {
            let words = self::stems(choice);
            let places = (0..(stems.len() + 1).saturating_sub(words.len().max(1)))
                .filter(|at| !words.is_empty() && stems[*at..].starts_with(&words))
                .map(|at| said[at].0.start..said[at + words.len() - 1].0.end);
            places.map(|place| (place, SpanKind::Choice, choice.clone())).collect::<Vec<_>>()
        };
        self.choices.iter().flat_map(of_choice).collect()
    }

    /// Where its name is said, and whether that turns it on.
    fn switched(
        &self,
        said: &[(Range<usize>, String)],
        stems: &[String],
    ) -> Option<(Range<usize>, SpanKind, String)> {
        let places: Option<Vec<usize>> =
            self.key.iter().map(|word| stems.iter().position(|other| alike(other, word))).collect();
        let places = places?;
        let first = *places.iter().min()?;
        // "don't show the hidden files"
        let before = &stems[first.saturating_sub(4)..first];
        let off = before.iter().any(|word| NEGATING.contains(&word.as_str()));
        let last = *places.iter().max()?;
        Some((said[first].0.start..said[last].0.end, SpanKind::Switch, (!off).to_string()))
    }

    /// Whether it is for the owner of a repository or its like, and whether for the repository.
    pub(super) fn half(&self) -> (bool, bool) {
        let is = |names: &[&str]| {
            self.value == Type::Text
                && !self.is_list
                && self.all.iter().any(|word| names.contains(&word.as_str()))
        };
        let project = is(&["repo", "repository", "project"]);
        (is(&["owner", "org", "organization", "organisation", "workspac"]) && !project, project)
    }

    /// Whether a span, in this form where it has one for this parameter, is a value for it.
    pub(super) fn takes(&self, span: &Span, form: Option<&str>) -> bool {
        if form.is_some() {
            return true;
        }
        let is_number = span.kind == SpanKind::Number;
        match self.value {
            _ if span.is_bound() || !self.choices.is_empty() => false,
            Type::Text => {
                (!self.is_zone || span.kind == SpanKind::Quoted) && self.matches(span) != Some(false)
            }
            Type::Integer => is_number && span.value.parse::<i64>().is_ok(),
            Type::Number => is_number,
            Type::Switch | Type::Other => false,
        }
    }

    /// A text as a value of this parameter.
    pub(super) fn value_of(&self, text: &str) -> Value {
        let value = match self.value {
            Type::Integer => text.parse::<i64>().ok().map(Value::from),
            Type::Number => {
                let whole = text.parse::<i64>().ok().map(Value::from);
                whole.or_else(|| text.parse::<f64>().ok().map(Value::from))
            }
            Type::Switch => text.parse::<bool>().ok().map(Value::from),
            Type::Text | Type::Other => None,
        };
        value.unwrap_or_else(|| Value::String(text.to_owned()))
    }

    /// Whether plain words could be meant for it, as they cannot for a number, a key or a date.
    pub(super) fn takes_words(&self) -> bool {
        const EXACT: &[&str] = &["id", "dat", "url", "email", "tim"];
        matches!(self.value, Type::Text | Type::Other)
            && !self.all.iter().any(|word| EXACT.contains(&word.as_str()))
    }

    /// Whether it takes a day or a time.
    pub(super) fn is_about_time(&self) -> bool {
        const TIMES: &[&str] = &[
            "after", "befor", "dat", "day", "deadlin", "due", "end", "expir", "finish", "month", "period",
            "rang", "schedul", "sinc", "start", "tim", "until", "when", "week",
        ];
        let is_time = |word: &String| TIMES.contains(&word.as_str());
        matches!(self.value, Type::Text | Type::Other) && self.all.iter().any(is_time)
    }

    /// How well the words around a span, and what it is, tell that it is meant for this parameter; none where
    /// nothing tells it and the parameter may be left out.
    pub(super) fn score(&self, span: &Span, form: Option<&str>, around: &Around) -> Option<f32> {
        let before = |word: &String| around.before.iter().rev().position(|said| alike(said, word));
        let after = |word: &String| around.after.iter().take(2).any(|said| said == word);
        #[expect(clippy::cast_precision_loss, reason = "a few words")]
        let share = 1.0 / self.key.len().max(1) as f32;
        let mut score = 0.0;
        for word in &self.key {
            #[expect(clippy::cast_precision_loss, reason = "a few words")]
            match before(word) {
                Some(distance) => score += share * SAID_BEFORE * (1.0 - DISTANCE * distance as f32),
                None if after(word) => score += share * SAID_AFTER,
                None => {}
            }
        }
        let last = around.before.last().map(String::as_str);
        let near = |word: &str| around.before.iter().rev().take(2).any(|said| said == word);
        let has = |word: &str| self.all.iter().any(|own| own == word);
        if has("id") && near("id") {
            score += 0.6;
        }
        if (has("nam") || has("titl")) && matches!(last, Some("nam" | "call" | "titl")) {
            score += 0.3;
        }
        let is_number = span.kind == SpanKind::Number;
        let next = around.after.first().map(String::as_str);
        let said = |word: &&String| around.before.iter().rev().take(4).any(|said| said == *word);
        for word in self.described.iter().filter(|word| !self.key.contains(word) && word.len() > 2) {
            let is_beside = is_number && [last, next].contains(&Some(word.as_str()));
            score += if is_beside { BESIDE_NUMBER } else { 0.0 };
            score += if !is_beside && word.len() > 3 && said(&word) { DESCRIBED } else { 0.0 };
        }
        let is_typed = matches!(span.kind, SpanKind::Url | SpanKind::Email | SpanKind::Date | SpanKind::Time);
        if self.is_for(span.kind) || self.matches(span) == Some(true) {
            score += KIND;
        } else if is_typed && !self.key.iter().any(|word| before(word).is_some()) {
            score -= MISFIT;
        }
        if form.is_some() {
            score += if self.is_zone { ZONE } else { FORM };
        }
        let is_start = has("sourc") || has("from");
        if self.is_zone && (is_start || has("target") || has("to")) && around.beside_time == is_start {
            score += BESIDE_TIME;
        }
        if self.examples.contains(&span.value.to_lowercase()) {
            score += EXAMPLE;
        }
        if self.required { Some(score + REQUIRED) } else { Some(score).filter(|score| *score > 0.0) }
    }

    /// Whether a span looks as its pattern wants; none where it has no pattern.
    fn matches(&self, span: &Span) -> Option<bool> {
        self.pattern.as_ref().map(|pattern| pattern.is_match(&span.value))
    }

    /// Whether its words say that it takes values of a kind.
    fn is_for(&self, kind: SpanKind) -> bool {
        let words: &[&str] = match kind {
            SpanKind::Url => &["url", "link", "websit", "uri", "pag"],
            SpanKind::Email => &["email", "mail", "recipient", "sender", "to"],
            SpanKind::Address => &["ip", "host", "address", "server"],
            SpanKind::Path => &["path", "fil", "folder", "directory"],
            SpanKind::Date => &["dat", "day", "deadlin", "birthday"],
            SpanKind::Time => &["tim", "hour"],
            _ => &[],
        };
        self.all.iter().chain(&self.described).any(|word| words.contains(&word.as_str()))
    }

    /// Words of the name that a task would say if it meant this parameter.
    pub(super) fn key(&self) -> &[String] {
        &self.key
    }

    /// All words that the parameter explains when it is filled in.
    pub(super) fn explained(&self) -> impl Iterator<Item = &String> {
        self.all.iter().chain(&self.described)
    }

    /// Whether one of its choices is among the words.
    pub(super) fn is_chosen(&self, said: &[String]) -> bool {
        self.choices
            .iter()
            .any(|choice| stems(choice).iter().all(|word| said.contains(word)) && !choice.is_empty())
    }
}

impl Around {
    /// The words between the spans before and after the one at `at`.
    pub(super) fn new(task: &str, spans: &[Span], at: usize) -> Self {
        let before_it = at.checked_sub(1).map(|before| &spans[before]);
        let after_it = spans.get(at + 1);
        let start = before_it.map_or(0, |before| before.place.end);
        let end = after_it.map_or(task.len(), |after| after.place.start);
        let mut before = stems(&task[start..spans[at].place.start]);
        let mut after = stems(&task[spans[at].place.end..end]);
        // "9:30 in Berlin", "Berlin at 9:30".
        let is_time = |span: &&Span| span.kind == SpanKind::Time;
        let beside_time = (before.len() <= 1 && before_it.is_some_and(|span| is_time(&span)))
            || (after.len() <= 1 && after_it.is_some_and(|span| is_time(&span)));
        before.drain(..before.len().saturating_sub(8));
        after.truncate(3);
        Self { beside_time, before, after }
    }
}
