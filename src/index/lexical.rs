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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn any_text_is_a_valid_query(text in "\\PC{0,80}") {
            let store = Store::in_memory().unwrap();
            prop_assert!(search(&store, &text, 10).is_ok());
        }
    }
}
