//! Search by words, through `SQLite`'s FTS5: BM25 over server, name, description and parameters.

use std::collections::{HashMap, HashSet};

use crate::catalog::{Store, StoreError, text::query_words};

/// Words of a query that are searched; a longer one says little more.
const MAX_WORDS: usize = 48;

/// Words that say nothing about which tool is meant. Kept short on purpose: what is left in a query
/// of these alone is searched all the same.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "could", "do", "does", "for", "from", "has",
    "have", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "of", "on", "or", "our", "please",
    "so", "that", "the", "their", "them", "then", "there", "these", "this", "to", "us", "was", "we", "what",
    "when", "where", "which", "will", "with", "would", "you", "your",
];

/// The FTS5 query for a text in plain language: any of its words. None when it has no word.
/// Each word is quoted, since to FTS5 raw text is a program.
pub fn query(text: &str) -> Option<String> {
    let mut seen = HashSet::new();
    let mut words = query_words(text);
    words.retain(|word| seen.insert(word.clone()));
    let telling: Vec<&String> = words.iter().filter(|word| !STOP_WORDS.contains(&word.as_str())).collect();
    let chosen = if telling.is_empty() { words.iter().collect() } else { telling };
    let quoted: Vec<String> = chosen.into_iter().take(MAX_WORDS).map(|word| format!("\"{word}\"")).collect();
    (!quoted.is_empty()).then(|| quoted.join(" OR "))
}

/// BM25 scores (k1 1.2, b 0.75; higher is better) by row id of the tools that match best.
pub fn search(store: &Store, text: &str, count: usize) -> Result<HashMap<i64, f32>, StoreError> {
    let Some(query) = query(text) else {
        return Ok(HashMap::new());
    };
    store.read(|connection| {
        let mut statement = connection.prepare_cached(
            "SELECT rowid, -bm25(words) AS score FROM words WHERE words MATCH ?1 ORDER BY rank LIMIT ?2",
        )?;
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        let rows = statement.query_map(rusqlite::params![query, limit], |row| {
            #[expect(clippy::cast_possible_truncation, reason = "a score needs no double precision")]
            let score = row.get::<_, f64>(1)? as f32;
            Ok((row.get(0)?, score))
        })?;
        rows.collect()
    })
}

/// Row ids of the tools that have all words of a name, wherever, or the name as one word: "Argo CD" is "argocd".
pub fn mentions(store: &Store, name: &str) -> Result<Vec<i64>, StoreError> {
    let words = query_words(name);
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let query = format!("({}) OR \"{}\"", quoted.join(" AND "), words.concat());
    store.read(|connection| {
        let mut statement = connection.prepare_cached("SELECT rowid FROM words WHERE words MATCH ?1")?;
        statement.query_map([query], |row| row.get(0))?.collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rmcp::model::Tool as Definition;

    use super::*;
    use crate::child::{Listing, ServerInfo};

    #[test]
    fn telling_words_are_searched_once_each() {
        assert_eq!(query("What's up? up!").as_deref(), Some("\"s\" OR \"up\""));
        assert_eq!(query("what is the").as_deref(), Some("\"what\" OR \"is\" OR \"the\""));
        assert_eq!(
            query("readFile NEAR(x)").as_deref(),
            Some("\"readfile\" OR \"read\" OR \"file\" OR \"near\" OR \"x\"")
        );
        assert_eq!(query("¿…? \"'"), None);
    }

    #[test]
    fn a_name_is_found_in_parts_and_as_one_word() {
        let store = Store::in_memory().unwrap();
        for (server, description) in [("argocd", ""), ("x", "CD for Argo"), ("y", "Argo")] {
            let listing = Listing {
                server: server.to_owned(),
                info: ServerInfo::default(),
                tools: vec![Definition::new("list", description, Arc::default())],
                warnings: Vec::new(),
            };
            store.apply(&listing, "", false).unwrap();
        }
        assert_eq!(mentions(&store, "argo cd").unwrap().len(), 2);
        assert!(mentions(&store, "trello").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_a_valid_query(text in "\\PC{0,80}") {
            let store = Store::in_memory().unwrap();
            prop_assert!(search(&store, &text, 10).is_ok());
        }
    }
}
