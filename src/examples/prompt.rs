//! What a language model is asked for, and what is read from its answer.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

use super::{ExampleLine, NewExample, tidy};
use crate::catalog::Tool;

/// Examples that are asked for, for each tool.
pub const PER_TOOL: usize = 5;
/// Characters of a description that are shown.
const DESCRIPTION_CHARS: usize = 500;
/// Examples that are read for each tool; a model that writes more wrote them for their number.
const MOST_PER_TOOL: usize = 12;

/// What a model is asked for some tools. `language` is one in which people speak to it, in any words;
/// English without one.
pub fn prompt<'a>(tools: impl IntoIterator<Item = &'a Tool>, language: Option<&str>) -> String {
    let language = language.unwrap_or("English");
    let mut text = format!(
        "Below are tools that an assistant can call. For each write {PER_TOOL} tasks for which a person would \
         need exactly this tool and not one of the others. People know nothing of tools: they say what they \
         want in their own words, in {language}.\n\
         For each tool one clear order, one need told without naming the action, one of two to five words, \
         one with some talk around it, and one typed in haste. Use concrete details (names, dates, files), \
         different each time. Do not repeat the tool's name or the words of its description.\n\
         Answer with nothing but one line of JSON for each tool:\n\
         {{\"tool\": \"server:name\", \"tasks\": [\"…\", \"…\", \"…\", \"…\", \"…\"]}}\n\nTools:\n"
    );
    for tool in tools {
        // Writing to a String cannot fail.
        writeln!(text, "{}", description(tool)).ok();
    }
    text
}

/// A tool in one line of JSON.
pub fn description(tool: &Tool) -> Value {
    let words: String = tool.description().split_whitespace().collect::<Vec<_>>().join(" ");
    let parameters = match tool.input_schema().get("properties") {
        Some(Value::Object(properties)) => properties.keys().cloned().collect(),
        _ => Vec::new(),
    };
    serde_json::json!({
        "tool": tool.id(),
        "description": words.chars().take(DESCRIPTION_CHARS).collect::<String>(),
        "parameters": parameters,
    })
}

/// What a model answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The examples, of tools that were asked for.
    pub examples: Vec<NewExample>,
    /// Lines that looked like an answer and could not be used, each with the reason.
    pub problems: Vec<String>,
}

/// Reads the lines of an answer. Models put text and fences around them, which is passed over; some
/// answer with one array of all.
pub fn read(answer: &str, is_asked: impl Fn(&str) -> bool, language: Option<&str>) -> Answer {
    let mut read = Answer::default();
    let mut take = |line: ExampleLine| {
        if !is_asked(&line.tool) {
            read.problems.push(format!("{} was not asked for", line.tool));
            return;
        }
        let line = ExampleLine {
            tasks: line
                .tasks
                .iter()
                .map(|task| tidy(task))
                .filter(|task| !task.is_empty())
                .take(MOST_PER_TOOL)
                .collect(),
            language: line.language.or_else(|| language.map(str::to_owned)),
            tool: line.tool,
        };
        read.examples.extend(line.into_examples().unwrap_or_default());
    };
    let mut problems = Vec::new();
    let whole = answer.trim().trim_start_matches("```json").trim_matches('`').trim();
    if let Ok(lines) = serde_json::from_str::<Vec<ExampleLine>>(whole) {
        lines.into_iter().for_each(&mut take);
        return read;
    }
    for line in answer.lines().map(|line| line.trim().trim_end_matches(',')) {
        if !line.starts_with('{') {
            continue;
        }
        // More than one object in a line is read as well.
        for value in serde_json::Deserializer::from_str(line).into_iter::<Value>() {
            match value.and_then(ExampleLine::deserialize) {
                Ok(line) => take(line),
                Err(error) => {
                    problems.push(format!("{error}: {}", line.chars().take(80).collect::<String>()));
                }
            }
        }
    }
    read.problems.extend(problems);
    read
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read_from_what_models_put_around_them() {
        let asked = |tool: &str| tool != "x:other";
        let answer = "Sure! Here you are:\n```json\n{\"tool\": \"git:log\", \"tasks\": [\"what changed\", \" \", \"who  did it\"]},\n\
                      {\"tool\": \"x:other\", \"tasks\": [\"y\"]}\n{\"tool\": 3}\n{broken\n```\nAnything else?";
        let read = read(answer, asked, Some("en"));
        assert_eq!(
            read.examples.iter().map(|example| example.text.as_str()).collect::<Vec<_>>(),
            ["what changed", "who did it"]
        );
        assert!(
            read.examples
                .iter()
                .all(|example| example.server == "git" && example.language.as_deref() == Some("en"))
        );
        assert_eq!(read.problems.len(), 3, "{:?}", read.problems);
        let array = super::read("```json\n[{\"tool\": \"a:b\", \"tasks\": [\"c\"]}]\n```", asked, None);
        assert_eq!((array.examples.len(), array.problems.len()), (1, 0));
    }

    proptest! {
        #[test]
        fn any_answer_is_read(answer in "\\PC{0,200}") {
            let Answer { examples, .. } = read(&answer, |_| true, None);
            prop_assert!(examples.iter().all(|example| !example.text.is_empty()));
        }
    }
}
