//! What a call of a tool may do: what its server says of it, and where it says nothing or contradicts the tool's
//! own name, the careful reading of the name's verb.

use rmcp::model::Tool as Definition;
use serde_json::Value;

use super::text::identifier_words;

/// What a call may do, from harmless to harmful.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It looks at things.
    Reads,
    /// It makes something new, and what was there stays.
    Adds,
    /// It may change or delete what was there, or do anything.
    Destroys,
}

/// Verbs of names that only look.
const READING: &str = "analyse analyze ask autocomplete calculate check compare compute convert count describe detect \
    diff discover echo estimate evaluate explain explore extract fetch find geocode get has help \
    inspect is list lookup measure parse ping preview query read recommend research resolve retrieve \
    scrape search show suggest summarize translate validate verify view whoami";

/// Verbs of names that make something new.
const ADDING: &str = "add append attach clone comment create draft follow fork insert invite like make new notify \
    open post react register reply schedule send star subscribe watch";

/// Verbs of names that change what is there, or may do anything.
const CHANGING: &str = "accept activate apply approve archive assign change click close copy edit enable \
    execute import install lock mark merge modify move mute patch press publish push put rebase rename restart \
    restore resume run save set share start stop submit sync transfer transition type unmute update upload upsert \
    write";

/// Words that mean a loss, of things or of money, wherever they stand in a name.
const LOSING: &str = "buy cancel clear deactivate delete destroy disable discard drop erase expunge force kill overwrite \
    pay prune purchase purge regenerate reinstall remove renew replace reset revoke rm terminate trash \
    truncate uninstall unlink wipe";

/// Parameters that take a program: what it does is up to whoever wrote it.
const PROGRAMS: &str = "sql code script command cmd javascript function";

impl Effect {
    /// What a call of this tool may do.
    pub fn of(tool: &Definition) -> Self {
        let hints = tool.annotations.as_ref();
        let read_only = hints.and_then(|hints| hints.read_only_hint);
        let destructive = hints.and_then(|hints| hints.destructive_hint);
        let name = identifier_words(&tool.name);
        let loses = loses(tool, &name);
        match (read_only, destructive) {
            (Some(true), _) if !loses || verb(&name) == Some(Self::Reads) => Self::Reads,
            (_, Some(false)) if !loses => Self::Adds,
            (_, Some(_)) | (Some(true), _) => Self::Destroys,
            // Not saying is a yes (specification 2025-11-25, tool annotations), unless the name says more.
            (Some(false), None) => by_name(tool, &name, loses).max(Self::Adds),
            (None, None) => by_name(tool, &name, loses),
        }
    }
}

/// Whether the tool is one that takes something away, or runs whatever it is given.
pub fn may_take_away(tool: &Definition) -> bool {
    loses(tool, &identifier_words(&tool.name)) || takes_a_program(tool)
}

/// Whether the name or the first word of the description means a loss.
fn loses(tool: &Definition, name: &str) -> bool {
    let is_loss = |word: &str| is_among(LOSING, word);
    name.split(' ').any(is_loss) || first_forms(tool).iter().any(|word| is_loss(word))
}

/// By the verb of the name, or where it has none of the description.
fn by_name(tool: &Definition, name: &str, loses: bool) -> Effect {
    if loses || takes_a_program(tool) {
        return Effect::Destroys;
    }
    if alternatives(name).any(|word| is_among(CHANGING, word)) {
        return Effect::Destroys;
    }
    let described = || first_forms(tool).iter().find_map(|word| verb(word));
    verb(name).or_else(described).unwrap_or(Effect::Destroys)
}

/// What else a tool does: "update" of "create or update file".
fn alternatives(name: &str) -> impl Iterator<Item = &str> {
    name.split(" or ").chain(name.split(" and ")).filter_map(|part| part.split(' ').next())
}

/// The first word of a description, as it is and without an ending: "deletes" and "delete".
fn first_forms(tool: &Definition) -> Vec<String> {
    let description = tool.description.as_deref().unwrap_or_default();
    let first = description.split_whitespace().next().unwrap_or_default().to_lowercase();
    let first = first.trim_matches(|character: char| !character.is_alphabetic());
    let without = |ending| first.strip_suffix(ending).unwrap_or(first).to_owned();
    vec![first.to_owned(), without("s"), without("es")]
}

/// What the first verb among the words does, where one is known.
fn verb(words: &str) -> Option<Effect> {
    words.split(' ').find_map(|word| {
        [(READING, Effect::Reads), (ADDING, Effect::Adds), (CHANGING, Effect::Destroys)]
            .into_iter()
            .find(|(verbs, _)| is_among(verbs, word))
            .map(|(_, effect)| effect)
    })
}

fn is_among(words: &str, word: &str) -> bool {
    words.split(' ').any(|other| other == word)
}

/// Whether one of the parameters is a program, or a query in SQL.
fn takes_a_program(tool: &Definition) -> bool {
    let properties = tool.input_schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().any(|(name, definition)| {
        let described = definition.get("description").and_then(Value::as_str).unwrap_or_default();
        let is_sql = || {
            let mut words = described.split(|character: char| !character.is_alphanumeric());
            words.any(|word| word.eq_ignore_ascii_case("sql"))
        };
        let name = identifier_words(name);
        is_among(PROGRAMS, &name) || is_sql()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rmcp::model::ToolAnnotations;
    use serde_json::json;

    use super::*;

    fn tool(name: &'static str, description: &'static str, parameter: &str) -> Definition {
        let schema = json!({"type": "object", "properties": {parameter: {"type": "string"}}});
        let Value::Object(schema) = schema else { unreachable!() };
        Definition::new(name, description, Arc::new(schema))
    }

    #[test]
    fn a_tool_without_hints_is_read_by_its_verb() {
        use Effect::{Adds, Destroys, Reads};
        for (name, description, parameter, effect) in [
            ("get_issue", "", "id", Reads),
            ("searchPages", "", "query", Reads),
            ("appTableRecord_create", "", "fields", Adds),
            ("delete_page", "", "id", Destroys),
            ("index_search_remove", "", "id", Destroys),
            ("update_issue", "", "id", Destroys),
            ("mark_as_read", "", "id", Destroys),
            ("create_or_update_file", "", "path", Destroys),
            ("frobnicate", "", "id", Destroys),
            ("weather", "Gets the weather of a place", "place", Reads),
            ("weather", "The weather of a place", "place", Destroys),
            ("run_query", "Run a query", "sql", Destroys),
            ("get_rows", "", "code", Destroys),
        ] {
            assert_eq!(Effect::of(&tool(name, description, parameter)), effect, "{name}: {description}");
        }
    }

    #[test]
    fn hints_count_unless_the_name_contradicts_them() {
        use Effect::{Adds, Destroys, Reads};
        let hints = |read_only: Option<bool>, destructive: Option<bool>| {
            let mut hints = ToolAnnotations::new();
            (hints.read_only_hint, hints.destructive_hint) = (read_only, destructive);
            hints
        };
        for (name, read_only, destructive, effect) in [
            ("run", Some(true), None, Reads),
            ("run", Some(true), Some(true), Reads),
            ("run", None, Some(false), Adds),
            ("run", Some(false), None, Destroys),
            ("get_issue", Some(false), None, Adds),
            ("get_issue", None, Some(true), Destroys),
            ("create_issue", Some(false), None, Adds),
            ("delete_issue", Some(true), None, Destroys),
            ("delete_issue", None, Some(false), Destroys),
            ("purchase_domain", Some(false), Some(false), Destroys),
            ("list_delete_markers", Some(true), Some(false), Reads),
        ] {
            let mut tool = tool(name, "", "id");
            tool.annotations = Some(hints(read_only, destructive));
            assert_eq!(Effect::of(&tool), effect, "{name} {read_only:?} {destructive:?}");
        }
    }
}
