//! Answers to tasks that were asked before, until the catalog changes: hosts ask the same again, to dry-run first or to
//! try once more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hashlink::LruCache;

use super::{Candidate, Mode, Scope};
use crate::index::Snapshot;

/// Tasks that are remembered.
const CAPACITY: usize = 256;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub task: String,
    pub scope: Scope,
    pub limit: usize,
    pub mode: Mode,
}

/// The newest answers.
pub(super) struct Recent(Mutex<Answers>);

struct Answers {
    /// The catalog of all the answers. It is not kept alive by them.
    catalog: Weak<Snapshot>,
    answers: LruCache<Question, Vec<Candidate>>,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Answers { catalog: Weak::new(), answers: LruCache::new(CAPACITY) }))
    }

    /// The answer from this catalog.
    pub(super) fn get(&self, catalog: &Arc<Snapshot>, question: &Question) -> Option<Vec<Candidate>> {
        let mut recent = self.lock();
        if recent.is_of(catalog) { recent.answers.get(question).cloned() } else { None }
    }

    /// Remembers an answer from this catalog.
    pub(super) fn put(&self, catalog: &Arc<Snapshot>, question: Question, answer: Vec<Candidate>) {
        let mut recent = self.lock();
        if !recent.is_of(catalog) {
            recent.catalog = Arc::downgrade(catalog);
            recent.answers.clear();
        }
        recent.answers.insert(question, answer);
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    /// The address is not used again while there is a weak reference to it.
    fn is_of(&self, catalog: &Arc<Snapshot>) -> bool {
        std::ptr::eq(self.catalog.as_ptr(), Arc::as_ptr(catalog))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(task: &str) -> Question {
        Question { task: task.to_owned(), scope: Scope::default(), limit: 10, mode: Mode::Hybrid }
    }

    #[test]
    fn answers_are_remembered_until_the_catalog_changes() {
        let recent = Recent::new();
        let catalog = Arc::new(Snapshot::default());
        assert!(recent.get(&catalog, &question("a")).is_none());
        recent.put(&catalog, question("a"), Vec::new());
        assert!(recent.get(&catalog, &question("a")).is_some());
        assert!(recent.get(&catalog, &Question { limit: 5, ..question("a") }).is_none());
        let newer = Arc::new(Snapshot::default());
        assert!(recent.get(&newer, &question("a")).is_none());
        recent.put(&newer, question("b"), Vec::new());
        assert!(recent.get(&catalog, &question("a")).is_none());
    }

    #[test]
    fn the_oldest_answers_are_forgotten() {
        let recent = Recent::new();
        let catalog = Arc::new(Snapshot::default());
        for number in 0..=CAPACITY {
            recent.put(&catalog, question(&number.to_string()), Vec::new());
        }
        assert!(recent.get(&catalog, &question("0")).is_none());
        assert!(recent.get(&catalog, &question("1")).is_some());
    }
}
