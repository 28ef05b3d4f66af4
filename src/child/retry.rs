//! Whether a lost call is sent again, and how long to wait before a restart: pure decisions.

use std::time::Duration;

use super::CallError;
use crate::config::{RestartSettings, RetrySettings};

/// Calls that may be sent again beyond the share, so that a server with few calls has any.
const RESERVE: f64 = 3.0;

/// The longest pause before the start that follows `crashes` crashes in a row.
pub(super) fn backoff_ceiling(settings: &RestartSettings, crashes: u32) -> Duration {
    // Fourfold, so that the few starts before a server is given up outlast a short outage.
    let growth = 4_u32.saturating_pow(crashes.saturating_sub(1));
    settings.initial_backoff.saturating_mul(growth).min(settings.max_backoff)
}

/// Full jitter: anywhere below the ceiling, so that many children that died together do not start
/// together ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
pub(super) fn backoff(settings: &RestartSettings, crashes: u32) -> Duration {
    backoff_ceiling(settings, crashes).mul_f64(fastrand::f64())
}

/// Counts what retries a server may still have: each call adds a share, each retry takes one.
#[derive(Debug)]
pub(super) struct RetryBudget {
    share: f64,
    saved: f64,
}

impl RetryBudget {
    pub(super) fn new(settings: &RetrySettings) -> Self {
        Self { share: settings.budget.clamp(0.0, 1.0), saved: RESERVE.min(settings.budget * 100.0) }
    }

    /// A call was made.
    pub(super) fn call(&mut self) {
        // Saved up for a hundred calls at most: long peace must not pay for a storm.
        self.saved = (self.saved + self.share).min((self.share * 100.0).max(RESERVE));
    }

    /// Takes one retry, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let there = self.saved >= 1.0;
        if there {
            self.saved -= 1.0;
        }
        there
    }
}

/// Whether a failure allows another try, the budget apart: the call never left, or it was lost and
/// the tool says that doing it twice does no harm.
pub(super) fn may_repeat(error: &CallError, repeatable: bool) -> bool {
    match error {
        CallError::Closed { sent, .. } => !sent || repeatable,
        // A start is supervised on its own; all others have an answer, or may still be under way.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn closed(sent: bool) -> CallError {
        CallError::Closed {
            server: "a".into(),
            tool: "b".into(),
            reason: String::new(),
            stderr: String::new(),
            sent,
        }
    }

    #[test]
    fn only_what_never_left_or_does_no_harm_is_repeated() {
        assert!(may_repeat(&closed(false), false));
        assert!(may_repeat(&closed(true), true));
        assert!(!may_repeat(&closed(true), false));
        let late = CallError::Timeout { server: "a".into(), tool: "b".into(), limit: Duration::ZERO };
        assert!(!may_repeat(&late, true), "it may still be running");
    }

    proptest! {
        #[test]
        fn retries_stay_within_their_share(calls in 0_u32..2_000, share in 0.0_f64..1.0) {
            let mut budget = RetryBudget::new(&RetrySettings { attempts: 2, budget: share });
            let mut retries = 0;
            for _ in 0..calls {
                budget.call();
                retries += u32::from(budget.take());
            }
            prop_assert!(f64::from(retries) <= f64::from(calls) * share + RESERVE);
        }

        #[test]
        fn the_pause_grows_and_has_an_end(crashes in 1_u32..10_000) {
            let settings = RestartSettings::default();
            let ceiling = backoff_ceiling(&settings, crashes);
            prop_assert!(ceiling <= settings.max_backoff);
            prop_assert!(backoff_ceiling(&settings, crashes + 1) >= ceiling);
            prop_assert!(backoff(&settings, crashes) <= ceiling);
        }
    }
}
