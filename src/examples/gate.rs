//! Whether an example is good enough to find its tool by. Pure decisions; the evidence comes from the
//! index.

use std::fmt;

use crate::catalog::text::{identifier_words, query_words};

/// A tool has to be among so many for its own example by the rest of the evidence. Three in a hundred
/// of the shipped pack's examples fail it among 1,895 tools.
pub(super) const WITHIN_FIRST: usize = 50;

/// Cosine from which two examples of different tools say the same.
pub(super) const NEAR_COPY: f32 = 0.97;

/// Why an example is set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It has no words.
    Empty,
    /// It says no more than the tool's name.
    ToolName,
    /// Another tool has the same one.
    NearCopy {
        /// That tool, `server:tool`.
        of: String,
    },
    /// Other tools fit it better by everything else that is known.
    OthersFitBetter {
        /// Rank of its tool, 1 is the best.
        rank: usize,
        /// The tool that fits best, `server:tool`.
        best: String,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(formatter, "it has no words"),
            Self::ToolName => write!(formatter, "it says no more than the tool's name"),
            Self::NearCopy { of } => write!(formatter, "{of} has the same one"),
            Self::OthersFitBetter { rank, best } => {
                write!(formatter, "other tools fit it better: this one is number {rank}, {best} the first")
            }
        }
    }
}

/// What the index knows of an example.
#[derive(Debug, Clone, Default)]
pub struct Examined {
    /// Rank of its tool without this example, 1 is the best; none where nothing can be ranked.
    pub rank: Option<usize>,
    /// The tool that ranks first, `server:tool`.
    pub best: String,
    /// The nearest example of another tool: that tool, and the cosine.
    pub nearest_other: Option<(String, f32)>,
}

/// Decides about an example of the tool `name`; none when it is kept.
pub fn examine(name: &str, text: &str, examined: &Examined) -> Option<Doubt> {
    let words = query_words(text);
    if words.is_empty() {
        return Some(Doubt::Empty);
    }
    let of_name = identifier_words(name);
    if words.iter().all(|word| of_name.split(' ').any(|own| own == word)) {
        return Some(Doubt::ToolName);
    }
    match &examined.nearest_other {
        Some((of, cosine)) if *cosine >= NEAR_COPY => return Some(Doubt::NearCopy { of: of.clone() }),
        _ => {}
    }
    match examined.rank {
        Some(rank) if rank > WITHIN_FIRST => {
            Some(Doubt::OthersFitBetter { rank, best: examined.best.clone() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_kept_when_its_tool_is_found_by_it() {
        let found = Examined { rank: Some(3), best: "a:b".to_owned(), nearest_other: None };
        assert_eq!(examine("list_issues", "what is still open for the release?", &found), None);
        assert_eq!(examine("list_issues", "List issues", &found), Some(Doubt::ToolName));
        assert_eq!(examine("list_issues", "?!", &found), Some(Doubt::Empty));
        let lost = Examined { rank: Some(WITHIN_FIRST + 1), ..found.clone() };
        assert!(matches!(
            examine("list_issues", "bake a cake", &lost),
            Some(Doubt::OthersFitBetter { best, .. }) if best == "a:b"
        ));
        let copied = Examined { nearest_other: Some(("x:y".to_owned(), 0.99)), ..found };
        assert_eq!(
            examine("list_issues", "what is open", &copied),
            Some(Doubt::NearCopy { of: "x:y".to_owned() })
        );
        // Without a model nothing can be ranked, and nothing speaks against it.
        assert_eq!(examine("list_issues", "what is open", &Examined::default()), None);
    }
}
