//! What a task asks for by its verb, against what a tool does: words for "delete the board" are near to a tool that
//! lists boards, and it is still not the one.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use crate::catalog::{Effect, Tool, may_take_away, text::query_words};

/// Words before the verb of an order or a request.
const BEFORE_THE_VERB: &str = "a also and can could d got have hello hey hi i just kindly let like ll me need now ok okay \
    our please quickly s so then to us want we will would you";

/// Verbs by which people ask for a change. Left out are those that as often ask for a look or a piece of work: "make",
/// "open", "run", "share", "start", "type", "watch", "write".
const CHANGING: &str = "accept activate add append apply approve archive assign attach clone close create edit enable \
    enroll execute follow install invite launch leave lock mark merge modify move mute notify press publish push put \
    raise react rebase rename reply rerun restart restore resume save send set stop submit subscribe suspend switch sync \
    turn upgrade upload";

/// The same, of words that are nouns as well: "order the shoes" asks for a change, "order status" does not.
const CHANGING_OR_NOUN: &str = "book change comment commit copy cut draft fork import message order patch post refund \
    register schedule star text transfer update";

/// Verbs by which people ask that something be gone.
const TAKING_AWAY: &str = "bin cancel clear deactivate delete destroy disable discard drop erase expunge forget purge \
    remove revoke terminate throw trash uninstall unlink wipe";

/// Words that follow a verb rather than a noun.
const AFTER_A_VERB: &str = "a all an another any each every her him his it its me my our out that the their them these \
    this those us your";

/// Verbs that say just what is wanted, each with the words by which a tool may tell that it does it; stems of all.
static TELLING: LazyLock<HashMap<&str, HashSet<&str>>> = LazyLock::new(|| {
    let lines = include_str!("../../models/verbs.txt").lines();
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').map(stem).collect();
            Some((*words.first()?, words.into_iter().collect()))
        })
        .collect()
});

/// Words before a colon that name who is to do it, at most: "slack: delete my last message".
const WORDS_OF_A_NAME: usize = 3;

/// Characters of a description in which a verb is looked for: what comes later is rarely what the tool is for.
const DESCRIPTION_CHARS: usize = 2_000;

/// The words of a text from its verb on, if it is an order or a request.
fn from_the_verb(text: &str) -> Vec<String> {
    let (name, order) = text.split_once(": ").unwrap_or_default();
    let is_name = (1..=WORDS_OF_A_NAME).contains(&name.split_whitespace().count());
    let words = query_words(if is_name { order } else { text });
    words.into_iter().skip_while(|word| is_among(BEFORE_THE_VERB, word)).collect()
}

/// Whether a text asks for something that the tool surely does not do: for a change, and it only reads; or to take
/// something away, and it does not. Only English is understood; of other texts nothing is said.
pub(super) fn asks_otherwise(text: &str, tool: &Tool) -> bool {
    let mut words = from_the_verb(text).into_iter();
    let Some(verb) = words.next() else { return false };
    if is_among(TAKING_AWAY, &verb) {
        return !may_take_away(tool.definition());
    }
    let next = words.next().unwrap_or_default();
    let asks_for_change =
        is_among(CHANGING, &verb) || (is_among(CHANGING_OR_NOUN, &verb) && is_among(AFTER_A_VERB, &next));
    asks_for_change && tool.effect() == Effect::Reads
}

/// Whether a text asks for something by a verb that says just what is wanted, and neither the tool nor its examples
/// say so: to pin a message is not to post one. Of a tool without examples nothing is said, as it tells few of its verbs.
pub(super) fn asks_by_another_verb(text: &str, tool: &Tool, examples: &[String]) -> bool {
    if examples.is_empty() {
        return false;
    }
    let words = from_the_verb(text);
    let Some(telling) = words.first().and_then(|verb| TELLING.get(stem(verb))) else { return false };
    let says_so = |text: &str| query_words(text).iter().any(|word| telling.contains(stem(word)));
    let description: String = tool.description().chars().take(DESCRIPTION_CHARS).collect();
    !(says_so(tool.name()) || says_so(&description) || examples.iter().any(|example| says_so(example)))
}

/// A word without its ending, roughly: enough that "archives" is the verb "archive".
fn stem(word: &str) -> &str {
    let endings = ["ations", "ation", "ings", "ing", "ies", "ied", "es", "ed", "s", "e"];
    let without = endings.iter().find_map(|ending| word.strip_suffix(ending).filter(|rest| rest.len() >= 3));
    without.unwrap_or(word)
}

fn is_among(words: &str, word: &str) -> bool {
    words.split(' ').any(|other| other == word)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rmcp::model::{JsonObject, Tool as Definition};

    use super::*;

    #[test]
    fn a_change_is_not_asked_of_a_tool_that_reads() {
        for (task, tool, otherwise) in [
            ("Create a private channel called falcon", "list_channels", true),
            ("hi, could you please set up a monitor for cpu", "get_monitors", true),
            ("delete the project 'Website relaunch'", "create_project", true),
            ("delete the project 'Website relaunch'", "delete_project", false),
            ("Create a private channel called falcon", "create_channel", false),
            ("Which channels did we create?", "list_channels", false),
            ("run the tests", "list_tests", false),
            ("order the shoes", "list_orders", true),
            ("order status", "list_orders", false),
            ("Erstelle einen Kanal", "list_channels", false),
            ("slack: delete what I posted", "post_message", true),
            ("¿?", "list_channels", false),
        ] {
            let definition = Definition::new(tool, "", Arc::new(JsonObject::new()));
            assert_eq!(asks_otherwise(task, &Tool::new("slack", definition)), otherwise, "{task}: {tool}");
        }
    }

    #[test]
    fn a_verb_is_known_from_the_tool_or_its_examples() {
        for (task, tool, description, example, other) in [
            ("Pin the message in #ops", "post_message", "Posts to a channel", "tell #ops hi", true),
            ("slack: pin the message", "post_message", "Posts to a channel", "tell #ops hi", true),
            ("Pin the message in #ops", "post_message", "Posts, and may pin it", "tell #ops hi", false),
            ("Pin the message in #ops", "post_message", "Posts to a channel", "write and pin: hi", false),
            ("Archive it", "issues_archived", "", "", false),
            ("Duplicate the page", "page_copy", "", "", false),
            ("Show the message", "post_message", "Posts to a channel", "", false),
            ("The message was pinned", "post_message", "Posts to a channel", "", false),
            ("¿?", "post_message", "", "", false),
        ] {
            let tool = Tool::new("slack", Definition::new(tool, description, Arc::new(JsonObject::new())));
            assert_eq!(asks_by_another_verb(task, &tool, &[example.to_owned()]), other, "{task}: {example}");
            assert!(!asks_by_another_verb(task, &tool, &[]), "{task}");
        }
    }
}
