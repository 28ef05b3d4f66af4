//! The task that a session asked for last. When a model then calls one of the tools that it was shown,
//! and the call succeeds, this is what people say when they need that tool.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// A call that comes later belongs to something else.
const FRESH: Duration = Duration::from_secs(600);
/// Sessions that are remembered at once.
const SESSIONS: usize = 64;

/// A task that was answered with tools to choose from.
struct Asked {
    session: u64,
    at: Instant,
    task: String,
    shown: HashSet<String>,
}

/// The last task of each session.
#[derive(Default)]
pub(super) struct Recent(Mutex<VecDeque<Asked>>);

impl Recent {
    /// Remembers a task with the tools that were shown for it, in place of the session's last one.
    pub(super) fn asked(
        &self,
        session: u64,
        task: &str,
        shown: impl IntoIterator<Item = String>,
        now: Instant,
    ) {
        let shown = shown.into_iter().collect();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|asked| asked.session != session);
        if all.len() >= SESSIONS {
            all.pop_front();
        }
        all.push_back(Asked { session, at: now, task: task.to_owned(), shown });
    }

    /// The task for which the session chose this tool. Only its first call belongs to the task,
    /// whatever it calls.
    pub(super) fn chosen(&self, session: u64, tool: &str, now: Instant) -> Option<String> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|asked| asked.session == session)?;
        let asked = all.remove(place)?;
        (asked.shown.contains(tool) && now.duration_since(asked.at) <= FRESH).then_some(asked.task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_belongs_to_the_shown_tool_that_is_called_next() {
        let (recent, now) = (Recent::default(), Instant::now());
        let shown = || ["git:log".to_owned(), "git:show".to_owned()];
        recent.asked(1, "what changed", shown(), now);
        recent.asked(2, "who did it", shown(), now);
        recent.asked(3, "who did it", shown(), now);
        assert_eq!(recent.chosen(3, "mail:send", now), None);
        assert_eq!(recent.chosen(3, "git:log", now), None);
        assert_eq!(recent.chosen(1, "git:show", now).as_deref(), Some("what changed"));
        assert_eq!(recent.chosen(1, "git:show", now), None);
        assert_eq!(recent.chosen(2, "git:log", now + FRESH * 2), None);
        for session in 0..100 {
            recent.asked(session, "x", shown(), now);
        }
        assert_eq!(recent.chosen(0, "git:log", now), None);
        assert!(recent.chosen(99, "git:log", now).is_some());
    }
}
