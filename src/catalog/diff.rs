//! What changed between the tools that were known and those that a server lists now.

use std::collections::{HashMap, HashSet};

/// Changes of one server's tools, each by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Diff {
    /// Listed now, not known before.
    pub added: Vec<String>,
    /// Known before, with another content hash.
    pub changed: Vec<String>,
    /// Known before, no longer listed.
    pub removed: Vec<String>,
    /// The same as before.
    pub unchanged: usize,
}

impl Diff {
    /// Whether anything has to be written.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Takes in the changes of another server.
    pub fn extend(&mut self, other: Self) {
        self.added.extend(other.added);
        self.changed.extend(other.changed);
        self.removed.extend(other.removed);
        self.unchanged += other.unchanged;
    }
}

/// Compares two lists of (name, content hash). Names are unique within each.
pub fn diff<'a>(
    known: impl IntoIterator<Item = (&'a str, &'a str)>,
    listed: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Diff {
    let known: HashMap<&str, &str> = known.into_iter().collect();
    let mut result = Diff::default();
    let mut seen = HashSet::new();
    for (name, hash) in listed {
        seen.insert(name);
        match known.get(name) {
            None => result.added.push(name.to_owned()),
            Some(before) if *before != hash => result.changed.push(name.to_owned()),
            Some(_) => result.unchanged += 1,
        }
    }
    result.removed =
        known.keys().filter(|name| !seen.contains(**name)).map(|name| (*name).to_owned()).collect();
    result.removed.sort_unstable();
    result
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn of<'a>(known: &'a BTreeMap<String, String>, listed: &'a BTreeMap<String, String>) -> Diff {
        let pairs = |map: &'a BTreeMap<String, String>| {
            map.iter().map(|(name, hash)| (name.as_str(), hash.as_str())).collect::<Vec<_>>()
        };
        diff(pairs(known), pairs(listed))
    }

    proptest! {
        #[test]
        fn applying_the_difference_gives_the_new_list(
            known in prop::collection::btree_map("[a-e]", "[01]", 0..5),
            listed in prop::collection::btree_map("[a-e]", "[01]", 0..5),
        ) {
            let changes = of(&known, &listed);
            let mut applied = known.clone();
            for name in &changes.removed {
                prop_assert!(applied.remove(name).is_some());
            }
            for name in changes.added.iter().chain(&changes.changed) {
                applied.insert(name.clone(), listed[name].clone());
            }
            prop_assert_eq!(&applied, &listed);
            prop_assert_eq!(changes.unchanged + changes.added.len() + changes.changed.len(), listed.len());
            prop_assert!(of(&listed, &listed).is_empty());
        }
    }
}
