//! Parameters that take words as they come: what is looked for, what is asked, what is to be said.

use serde_json::Value;

/// What words are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FreeText {
    /// To be looked for.
    Searched,
    /// As they are.
    Said,
}

/// Names under which tools take words to look for.
const SEARCHED: &[&str] = &[
    "query",
    "q",
    "question",
    "search",
    "search query",
    "search term",
    "search text",
    "term",
    "keyword",
    "keywords",
];

/// Names under which they take words as they are.
const SAID: &[&str] =
    &["prompt", "text", "message", "task", "input", "instruction", "instructions", "request", "thought"];

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

/// What a parameter takes words for, if it is a plain string that is meant for words.
pub(super) fn free_text(name: &str, parameter: &Value) -> Option<FreeText> {
    let is_plain = parameter.get("type") == Some(&Value::String("string".to_owned()))
        && ["enum", "const", "format", "pattern", "maxLength"]
            .iter()
            .all(|key| parameter.get(*key).is_none());
    let words = crate::catalog::text::identifier_words(name);
    let description = parameter.get("description").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let kind = match words.as_str() {
        words if SEARCHED.contains(&words) => FreeText::Searched,
        words if SAID.contains(&words) => FreeText::Said,
        _ => return None,
    };
    let is_formal = FORMAL_WORDS.iter().any(|formal| contains_word(&description, formal));
    (is_plain && !is_formal).then_some(kind)
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

    #[test]
    fn only_what_is_meant_for_words_takes_them() {
        use FreeText::{Said, Searched};
        for (name, parameter, taken_for) in [
            ("query", json!({"type": "string", "description": "What to look for"}), Some(Searched)),
            ("searchQuery", json!({"type": "string"}), Some(Searched)),
            ("message", json!({"type": "string"}), Some(Said)),
            ("query", json!({"type": "string", "description": "The SQL query to run"}), None),
            ("query", json!({"type": "string", "enum": ["a"]}), None),
            ("timezone", json!({"type": "string"}), None),
            ("path", json!({"type": "string"}), None),
            ("query", json!({"type": "number"}), None),
        ] {
            assert_eq!(free_text(name, &parameter), taken_for, "{name} {parameter}");
        }
    }
}
