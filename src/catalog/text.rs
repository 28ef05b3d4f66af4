//! The texts by which a tool is found: one to embed, and the fields that are searched by words.

use rmcp::model::Tool as Definition;
use serde_json::Value;

/// Goes into the key of every vector; raise it whenever [`to_embed`] gives another text.
pub const FORMAT_VERSION: u32 = 2;

/// Characters of a description that are read: the encoder takes in no more tokens than these hold,
/// and what comes later in a long one is rarely what the tool is for.
const DESCRIPTION_CHARS: usize = 2_000;

/// The text whose vector stands for the tool: server, name, description, parameter names, and the
/// server once more. The encoder takes the mean over tokens, where one mention of the server weighs
/// little beside a long description.
pub fn to_embed(server: &str, tool: &Definition) -> String {
    let server = identifier_words(server);
    let mut text = format!("{server} {}", identifier_words(&tool.name));
    let description = collapse_spaces(description(tool));
    if !description.is_empty() {
        text.push_str(": ");
        text.push_str(&description);
    }
    let parameters = parameter_names(tool);
    if !parameters.is_empty() {
        text.push(' ');
        text.push_str(&parameters.join(", "));
    }
    text.push(' ');
    text.push_str(&server);
    text
}

/// Key of a text's vector, together with the model.
pub fn hash(text: &str) -> String {
    crate::digest::sha256(&[&FORMAT_VERSION.to_string(), text])
}

/// Key of an example's vector, together with the model.
pub fn example_hash(example: &str) -> String {
    crate::digest::hex(&example_digest(example))
}

/// The same as bytes.
pub fn example_digest(example: &str) -> [u8; 32] {
    crate::digest::sha256_bytes(&["example", example])
}

/// The words of examples, with the parts of compound ones.
pub fn example_words(examples: &[&str]) -> String {
    let mut text = String::new();
    for example in examples {
        with_parts(&mut text, example);
    }
    text
}

/// Adds a text to another. "GitHub" is also found as "git hub", as a query for it asks for either.
fn with_parts(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(more);
    for parts in pieces(more).filter_map(parts) {
        text.push(' ');
        text.push_str(&parts);
    }
}

/// The fields of a tool that are searched by words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// Words of the server's name.
    pub server: String,
    /// Words of the tool's name and title.
    pub name: String,
    /// The description, and the parts of its compound words.
    pub description: String,
    /// Words of the parameter names.
    pub parameters: String,
}

impl Words {
    /// The fields of a tool of `server`.
    pub fn new(server: &str, tool: &Definition) -> Self {
        let mut text = String::new();
        with_parts(&mut text, description(tool));
        Self {
            server: identifier_words(server),
            name: identifier_words(&tool.name),
            description: text,
            parameters: parameter_names(tool).join(" "),
        }
    }
}

/// The words of a query, as they may stand in a tool's text: each as it is, in lower case, and its
/// parts where it has several ("gitHub" is `github`, `git`, `hub`).
pub fn query_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for piece in pieces(text) {
        words.push(piece.to_lowercase());
        words.extend(parts(piece).iter().flat_map(|parts| parts.split(' ').map(str::to_owned)));
    }
    words
}

/// Runs of letters and digits.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric()).filter(|piece| !piece.is_empty())
}

/// The words of a piece that has several, joined by spaces.
fn parts(piece: &str) -> Option<String> {
    Some(identifier_words(piece)).filter(|words| words.contains(' '))
}

/// The part of the description that is read.
fn description(tool: &Definition) -> &str {
    beginning(tool.description.as_deref().unwrap_or_default().trim(), DESCRIPTION_CHARS)
}

/// The parameters of a tool's input schema, each split into words, in their order.
fn parameter_names(tool: &Definition) -> Vec<String> {
    match tool.input_schema.get("properties") {
        Some(Value::Object(properties)) => properties.keys().map(|name| identifier_words(name)).collect(),
        _ => Vec::new(),
    }
}

/// `get_currentTime-v2` as words: `get current time v2`, all in lower case.
pub fn identifier_words(identifier: &str) -> String {
    let characters: Vec<char> = identifier.chars().collect();
    let mut words = String::with_capacity(identifier.len() + 8);
    for (at, &character) in characters.iter().enumerate() {
        if !character.is_alphanumeric() {
            if !words.ends_with(' ') && !words.is_empty() {
                words.push(' ');
            }
            continue;
        }
        if starts_word(&characters, at) && !words.ends_with(' ') && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words.truncate(words.trim_end().len());
    words
}

/// Whether a capital letter begins a word: after a small letter or digit (`listFiles`), or as the
/// last of several before a small one (`PDFFile`).
fn starts_word(characters: &[char], at: usize) -> bool {
    let is = |index: Option<usize>, test: fn(char) -> bool| {
        index.and_then(|index| characters.get(index)).is_some_and(|character| test(*character))
    };
    let before = at.checked_sub(1);
    characters[at].is_uppercase()
        && (is(before, |c| c.is_lowercase() || c.is_numeric())
            || (is(before, char::is_uppercase) && is(Some(at + 1), char::is_lowercase)))
}

/// The first `limit` characters.
fn beginning(text: &str, limit: usize) -> &str {
    text.char_indices().nth(limit).map_or(text, |(end, _)| &text[..end])
}

fn collapse_spaces(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tool(name: &'static str, description: &'static str, schema: Value) -> Definition {
        let Value::Object(schema) = schema else { panic!("a schema is an object") };
        Definition::new(name, description, Arc::new(schema))
    }

    #[test]
    fn identifiers_become_words() {
        for (identifier, words) in [
            ("get_current_time", "get current time"),
            ("listPullRequests", "list pull requests"),
            ("exportPDFFile", "export pdf file"),
            ("API-post-search", "api post search"),
            ("mcp-server-git", "mcp server git"),
            ("v2Items", "v2 items"),
            ("__x__", "x"),
            ("größe", "größe"),
            ("", ""),
        ] {
            assert_eq!(identifier_words(identifier), words);
        }
    }

    #[test]
    fn the_text_names_server_tool_purpose_and_parameters() {
        let definition = tool(
            "get_current_time",
            "Get current time\n  in a timezone",
            json!({"type": "object", "properties": {"timeZone": {"type": "string"}}}),
        );
        assert_eq!(
            to_embed("time", &definition),
            "time get current time: Get current time in a timezone time zone time"
        );
        let bare = tool("ping", "", json!({"type": "object"}));
        assert_eq!(to_embed("net", &bare), "net ping net");
    }

    #[test]
    fn compound_words_are_found_whole_and_in_parts() {
        let definition = tool("x", "Open a pull request on GitHub", json!({"type": "object"}));
        assert_eq!(Words::new("s", &definition).description, "Open a pull request on GitHub git hub");
        assert_eq!(query_words("GitHub's API"), ["github", "git", "hub", "s", "api"]);
    }

    proptest! {
        #[test]
        fn words_are_clean_for_any_identifier(identifier in "\\PC{0,30}", plain in "[A-Za-z0-9äÖß_ -]{0,30}") {
            let words = identifier_words(&identifier);
            prop_assert!(!words.contains("  ") && words.trim() == words);
            let words = identifier_words(&plain);
            prop_assert_eq!(&identifier_words(&words), &words);
        }
    }
}
