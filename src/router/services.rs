//! The services and products that a task names, and the tools that have to do with them: for "put it on my Trello
//! board" a tool of another service is no answer, however near its text is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::LazyLock,
};

use super::Scope;
use crate::{
    catalog::{Store, StoreError, text::identifier_words},
    index::{Snapshot, lexical},
};

/// Words of a service's name, at most.
const MAX_WORDS: usize = 3;

/// Well-known services by their name in lower case; true where the name is an everyday word as well, and counts only
/// with a capital inside a sentence.
static WELL_KNOWN: LazyLock<HashMap<String, bool>> = LazyLock::new(|| {
    let lines = include_str!("../../models/services.txt").lines();
    lines.map(|line| (name(&words(line)), line.ends_with('*'))).collect()
});

/// A service that a text names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    /// Its name in lower case.
    name: String,
    /// Whether the name is only known from the servers: then it may be an everyday word, as of a server "time".
    by_server: bool,
}

/// The services that a text names: well-known ones, and those of which the servers tell by a word of their name.
pub(super) fn named(text: &str, servers: &HashSet<String>) -> BTreeSet<Service> {
    let words = words(text);
    let mut found = BTreeSet::new();
    let mut at = 0;
    while at < words.len() {
        let longest = (1..=MAX_WORDS.min(words.len() - at)).rev().find(|count| {
            let is_everyday = WELL_KNOWN.get(&name(&words[at..at + count]));
            is_everyday.is_some_and(|is_everyday| !is_everyday || words[at].has_capital)
        });
        let count = longest.unwrap_or(1);
        let words = &words[at..at + count];
        let name = name(words);
        at += count;
        // "codeberg.org/moss" and "redis_url" are addresses and names of other things.
        let is_a_part = words[0].joins_before || words[count - 1].joins_after;
        if !is_a_part && (longest.is_some() || servers.contains(&name)) {
            found.insert(Service { name, by_server: longest.is_none() });
        }
    }
    found
}

/// A word of a text.
struct Word<'a> {
    text: &'a str,
    /// Whether it has a capital that does not come from the beginning of a sentence.
    has_capital: bool,
    /// Whether it goes on from what stands before it, as in an address.
    joins_before: bool,
    /// The same with what comes after it.
    joins_after: bool,
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut end = 0;
    while let Some(found) = text[end..].find(char::is_alphanumeric) {
        let between = &text[end..end + found];
        let start = end + found;
        let length = text[start..].find(|character: char| !character.is_alphanumeric());
        end = length.map_or(text.len(), |length| start + length);
        let mut after = text[end..].chars();
        let (next, next_but_one) = (after.next(), after.next());
        let begins = words.is_empty() || between.contains(['.', '!', '?', '\n']);
        words.push(Word {
            text: &text[start..end],
            has_capital: text[start..].starts_with(char::is_uppercase) && (!begins || next == Some(':')),
            joins_before: between.ends_with(['@', '/', '.', '_', '-']),
            joins_after: match (next, next_but_one) {
                (Some('@' | '/' | '.' | '_'), Some(next)) => next.is_alphanumeric(),
                // "Slack-Channel" is about Slack.
                (Some('-'), Some(next)) => next.is_alphanumeric() && !next.is_uppercase(),
                _ => false,
            },
        });
    }
    words
}

fn name(words: &[Word<'_>]) -> String {
    words.iter().map(|word| word.text.to_lowercase()).collect::<Vec<_>>().join(" ")
}

/// Words of the servers' names that may tell which server is meant.
pub(super) fn words_of_servers(snapshot: &Snapshot) -> HashSet<String> {
    let words = snapshot
        .servers()
        .keys()
        .flat_map(|server| identifier_words(server).split(' ').map(str::to_owned).collect::<Vec<_>>());
    words.filter(|word| word.len() > 2).collect()
}

/// Row ids of the tools that mention each of the services, in their own text or an example.
pub(super) fn mentions(
    store: &Store,
    services: BTreeSet<Service>,
) -> Result<BTreeMap<Service, Vec<i64>>, StoreError> {
    let with_rows = |service: Service| Ok((lexical::mentions(store, &service.name)?, service));
    services.into_iter().map(with_rows).map(|found| found.map(|(rows, service)| (service, rows))).collect()
}

/// Places of the tools that have to do with a service that the task names; none where it names no service.
pub(super) fn concerned(
    snapshot: &Snapshot,
    scope: &Scope,
    mentions: &BTreeMap<Service, Vec<i64>>,
) -> Option<HashSet<usize>> {
    let mut concerned: Option<HashSet<usize>> = None;
    for (service, rows) in mentions {
        let places = rows.iter().filter_map(|row| snapshot.place_of_row_id(*row));
        let places: Vec<usize> = places.filter(|place| scope.admits(snapshot.tool(*place))).collect();
        let is_own = |place: &&usize| {
            identifier_words(&snapshot.tool(**place).server).split(' ').any(|word| word == service.name)
        };
        // A word that other servers use as well does not tell which one is meant.
        if service.by_server
            && (places.is_empty() || places.iter().filter(is_own).count() * 10 < places.len() * 9)
        {
            continue;
        }
        concerned.get_or_insert_default().extend(places);
    }
    concerned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let servers = HashSet::from(["time".to_owned(), "backlog".to_owned()]);
        named(text, &servers).into_iter().map(|service| service.name).collect()
    }

    #[test]
    fn services_are_told_from_everyday_words() {
        for (text, services) in [
            ("put it on the trello board", vec!["trello"]),
            ("upload invoice.pdf to Google Drive", vec!["google drive"]),
            ("what time is it in Tokyo", vec!["time"]),
            ("the wiki page in Backlog", vec!["backlog"]),
            ("Linear: move ENG-2214 to In Review", vec!["linear"]),
            ("Fit a curve that is linear. Linear or not?", vec![]),
            ("Put it into Linear, please", vec!["linear"]),
            ("Hang the Customer.io sheet up in our Slack-Channel", vec!["customer io", "slack"]),
            ("clone https://codeberg.org/moss.git, and show REDIS_URL of docker-compose", vec![]),
            ("¿…?", vec![]),
        ] {
            assert_eq!(names(text), services, "{text}");
        }
    }

    #[test]
    fn each_name_is_listed_once_and_short_enough_to_be_found() {
        assert_eq!(include_str!("../../models/services.txt").lines().count(), WELL_KNOWN.len());
        for name in WELL_KNOWN.keys() {
            assert!((1..=MAX_WORDS).contains(&name.split(' ').count()) && !name.is_empty(), "{name}");
        }
    }
}
