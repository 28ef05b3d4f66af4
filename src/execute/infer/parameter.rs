//! What a parameter says of itself: which values it takes, and by which words a task would introduce one.

use rmcp::model::JsonObject;
use serde_json::Value;

use super::{
    spans::{Span, SpanKind},
    words::{alike, stems},
};
use crate::execute::arguments::required;

/// Words of names that many parameters have.
const COMMON: &[&str] = &["id", "nam", "number", "valu", "type", "of", "th"];
/// How much a word that is said right before the value counts, and what each word between takes away.
const SAID_BEFORE: f32 = 2.0;
const DISTANCE: f32 = 0.08;
/// How much one counts that is said right after it.
const SAID_AFTER: f32 = 1.2;
/// How much a word of the description counts.
const DESCRIBED: f32 = 0.25;
/// How much it counts that a parameter is meant for values of the span's kind.
const KIND: f32 = 1.0;
/// How much it counts that the description gives the value as an example.
const EXAMPLE: f32 = 1.5;
/// How much it counts that a parameter has to be filled in.
const REQUIRED: f32 = 0.5;

/// Types of values, as far as a task's words can tell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Integer,
    Number,
    /// A truth value, a list, an object: not filled in from words.
    Other,
}

/// A parameter of a tool.
pub(super) struct Parameter {
    pub name: String,
    pub required: bool,
    value: Type,
    choices: Vec<String>,
    /// Stems of the name without the common ones, unless it has no other.
    key: Vec<String>,
    all: Vec<String>,
    described: Vec<String>,
    examples: Vec<String>,
}

/// What stands around a span, up to the next ones.
pub(super) struct Around {
    before: Vec<String>,
    after: Vec<String>,
}

/// All parameters of a schema.
pub(super) fn parameters(schema: &JsonObject) -> Vec<Parameter> {
    let required = required(schema);
    let properties = schema.get("properties").and_then(Value::as_object);
    let of = |(name, definition): (&String, &Value)| {
        Parameter::new(name, definition, required.contains(&name.as_str()))
    };
    properties.into_iter().flatten().map(of).collect()
}

impl Parameter {
    fn new(name: &str, definition: &Value, required: bool) -> Self {
        let described = definition.get("description").and_then(Value::as_str).unwrap_or_default();
        let all = stems(name);
        let key: Vec<String> = all.iter().filter(|word| !COMMON.contains(&word.as_str())).cloned().collect();
        let examples = described.split_once("e.g.").map_or("", |(_, examples)| examples);
        let examples = examples.split(')').next().unwrap_or_default().trim_start_matches(',').split(',');
        let choices = definition.get("enum").and_then(Value::as_array).into_iter().flatten();
        Self {
            name: name.to_owned(),
            required,
            value: match definition.get("type").and_then(Value::as_str) {
                Some("string") => Type::Text,
                Some("integer") => Type::Integer,
                Some("number") => Type::Number,
                _ => Type::Other,
            },
            choices: choices.filter_map(Value::as_str).map(str::to_lowercase).collect(),
            key: if key.is_empty() { all.clone() } else { key },
            all,
            described: stems(described.split('(').next().unwrap_or_default()),
            examples: examples
                .map(|example| example.trim().to_lowercase())
                .filter(|example| !example.is_empty())
                .collect(),
        }
    }

    /// Whether a value is one for this parameter.
    pub(super) fn takes(&self, span: &Span) -> bool {
        match self.value {
            _ if !self.choices.is_empty() => self.choices.contains(&span.value.to_lowercase()),
            Type::Text => true,
            Type::Integer => span.kind == SpanKind::Number && span.value.parse::<i64>().is_ok(),
            Type::Number => span.kind == SpanKind::Number,
            Type::Other => false,
        }
    }

    /// The span as a value of this parameter.
    pub(super) fn value_of(&self, span: &Span) -> Value {
        let number = match self.value {
            Type::Integer => span.value.parse::<i64>().ok().map(Value::from),
            Type::Number => span.value.parse::<f64>().ok().map(Value::from),
            _ => None,
        };
        number.unwrap_or_else(|| Value::String(span.value.clone()))
    }

    /// Whether plain words could be meant for it, as they cannot for a number, a key or a date.
    pub(super) fn takes_words(&self) -> bool {
        const EXACT: &[&str] = &["id", "dat", "url", "email", "tim"];
        matches!(self.value, Type::Text | Type::Other)
            && !self.all.iter().any(|word| EXACT.contains(&word.as_str()))
    }

    /// How well the words around a span, and what it is, tell that it is meant for this parameter.
    pub(super) fn score(&self, span: &Span, around: &Around) -> f32 {
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
        let described = self.described.iter().filter(|word| !self.key.contains(word) && word.len() > 3);
        let said = |word: &&String| around.before.iter().rev().take(4).any(|said| said == *word);
        #[expect(clippy::cast_precision_loss, reason = "a few words")]
        let described = described.filter(said).count() as f32;
        score += DESCRIBED * described;
        if self.is_for(span.kind) {
            score += KIND;
        }
        if self.examples.contains(&span.value.to_lowercase()) {
            score += EXAMPLE;
        }
        if self.required { score + REQUIRED } else { score }
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
        let start = at.checked_sub(1).map_or(0, |before| spans[before].place.end);
        let end = spans.get(at + 1).map_or(task.len(), |after| after.place.start);
        let mut before = stems(&task[start..spans[at].place.start]);
        before.drain(..before.len().saturating_sub(8));
        let mut after = stems(&task[spans[at].place.end..end]);
        after.truncate(3);
        Self { before, after }
    }
}
