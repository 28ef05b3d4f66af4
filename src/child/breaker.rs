//! The circuit breaker of one server: pure state over injected time. Closed it counts; when too many
//! calls fail it opens and refuses all; after a while it lets exactly one call probe.

use std::time::{Duration, Instant};

use crate::config::BreakerSettings;

/// Parts of the sliding window: it moves by one of them at a time, and memory stays constant at any
/// rate of calls.
const BUCKETS: u32 = 10;

/// How a call ended, as far as the server's health goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The server answered; an error of the tool is an answer too.
    Success,
    /// No answer, or none that could be used.
    Failure,
    /// Says nothing of the server: the caller went away, or asked for something wrong.
    Neutral,
}

/// What the breaker lets through now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// All calls pass.
    Closed,
    /// None passes.
    Open,
    /// One call may probe.
    HalfOpen,
}

/// A call that was let through. Its end has to be told by [`Breaker::record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permit {
    probe: bool,
}

/// Calls and failures of one part of the window.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    calls: u32,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// A server's breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: State,
    buckets: [Bucket; BUCKETS as usize],
    /// The bucket that counts now, and when it began.
    current: usize,
    began: Instant,
    failures_in_a_row: u32,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings, now: Instant) -> Self {
        Self {
            settings,
            state: State::Closed,
            buckets: Default::default(),
            current: 0,
            began: now,
            failures_in_a_row: 0,
        }
    }

    /// Whether a call may pass; if not, after how long one may.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Permit, Duration> {
        match self.state {
            State::Closed => Ok(Permit { probe: false }),
            State::Open { until } if now < until => Err(until - now),
            State::Open { .. } | State::HalfOpen { probing: false } => {
                self.state = State::HalfOpen { probing: true };
                Ok(Permit { probe: true })
            }
            State::HalfOpen { probing: true } => Err(self.probe_guess()),
        }
    }

    /// Takes in how a call ended.
    pub(super) fn record(&mut self, permit: Permit, verdict: Verdict, now: Instant) {
        match (self.state, permit.probe, verdict) {
            (State::HalfOpen { .. }, true, Verdict::Success) => self.close(now),
            (State::HalfOpen { .. }, true, Verdict::Failure) => self.open(now),
            (State::HalfOpen { .. }, true, Verdict::Neutral) => {
                self.state = State::HalfOpen { probing: false };
            }
            (State::Closed, _, Verdict::Success | Verdict::Failure) => self.count(verdict, now),
            // Calls let through before it opened say nothing new.
            _ => {}
        }
    }

    /// What it lets through at `now`, and after how long more, where it is open.
    pub(super) fn state(&self, now: Instant) -> (BreakerState, Option<Duration>) {
        match self.state {
            State::Closed => (BreakerState::Closed, None),
            State::Open { until } if now < until => (BreakerState::Open, Some(until - now)),
            State::Open { .. } | State::HalfOpen { .. } => (BreakerState::HalfOpen, None),
        }
    }

    /// How long no call passes, as far as that is known; none where one may.
    pub(super) fn refuses(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until - now),
            State::HalfOpen { probing: true } => Some(self.probe_guess()),
            _ => None,
        }
    }

    /// A probe decides; nobody knows when. A short pause is a good guess.
    fn probe_guess(&self) -> Duration {
        Duration::from_secs(1).min(self.settings.open_for)
    }

    /// Forgets all failures: the user wants another try.
    pub(super) fn close(&mut self, now: Instant) {
        self.state = State::Closed;
        self.buckets = Default::default();
        self.began = now;
        self.failures_in_a_row = 0;
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + self.settings.open_for };
    }

    fn count(&mut self, verdict: Verdict, now: Instant) {
        self.move_window(now);
        let bucket = &mut self.buckets[self.current];
        bucket.calls = bucket.calls.saturating_add(1);
        if verdict == Verdict::Success {
            self.failures_in_a_row = 0;
            return;
        }
        bucket.failures = bucket.failures.saturating_add(1);
        self.failures_in_a_row += 1;
        let (calls, failures) = self.buckets.iter().fold((0_u32, 0_u32), |(calls, failures), bucket| {
            (calls.saturating_add(bucket.calls), failures.saturating_add(bucket.failures))
        });
        let too_many_in_a_row = self.failures_in_a_row >= self.settings.consecutive.max(1);
        let too_large_a_share = calls >= self.settings.minimum_calls.max(1)
            && f64::from(failures) >= f64::from(calls) * self.settings.failure_share;
        if too_many_in_a_row || too_large_a_share {
            self.open(now);
        }
    }

    /// Empties the buckets that have left the window.
    fn move_window(&mut self, now: Instant) {
        let width = (self.settings.window / BUCKETS).max(Duration::from_millis(1));
        let passed = now.saturating_duration_since(self.began).as_nanos() / width.as_nanos();
        let steps = u32::try_from(passed).unwrap_or(u32::MAX);
        for _ in 0..steps.min(BUCKETS) {
            self.current = (self.current + 1) % self.buckets.len();
            self.buckets[self.current] = Bucket::default();
        }
        self.began = if steps >= BUCKETS { now } else { self.began + width * steps };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> BreakerSettings {
        BreakerSettings {
            window: Duration::from_secs(30),
            minimum_calls: 10,
            failure_share: 0.5,
            consecutive: 5,
            open_for: Duration::from_secs(10),
        }
    }

    fn call(breaker: &mut Breaker, verdict: Verdict, now: Instant) -> bool {
        match breaker.admit(now) {
            Ok(permit) => {
                breaker.record(permit, verdict, now);
                true
            }
            Err(_) => false,
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_good_probe_closes_it() {
        let start = Instant::now();
        let mut breaker = Breaker::new(settings(), start);
        for _ in 0..5 {
            assert!(call(&mut breaker, Verdict::Failure, start));
        }
        assert_eq!(breaker.admit(start + Duration::from_secs(4)), Err(Duration::from_secs(6)));
        let later = start + Duration::from_secs(10);
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err(), "one probe at a time");
        breaker.record(probe, Verdict::Success, later);
        assert_eq!(breaker.state(later).0, BreakerState::Closed);
    }

    #[test]
    fn half_of_ten_failures_open_it_and_old_ones_are_forgotten() {
        let start = Instant::now();
        let mut breaker = Breaker::new(settings(), start);
        for second in 0..9 {
            let verdict = if second % 2 == 0 { Verdict::Failure } else { Verdict::Success };
            assert!(call(&mut breaker, verdict, start + Duration::from_secs(second)));
        }
        assert_eq!(breaker.state(start + Duration::from_secs(9)).0, BreakerState::Closed);
        let mut forgetful = Breaker::new(settings(), start);
        for second in 0..9 {
            let verdict = if second % 2 == 0 { Verdict::Failure } else { Verdict::Success };
            call(&mut forgetful, verdict, start + Duration::from_secs(second));
        }
        call(&mut forgetful, Verdict::Failure, start + Duration::from_secs(60));
        assert_eq!(forgetful.state(start + Duration::from_secs(60)).0, BreakerState::Closed);
        call(&mut breaker, Verdict::Failure, start + Duration::from_secs(9));
        assert_eq!(breaker.state(start + Duration::from_secs(9)).0, BreakerState::Open);
    }

    #[test]
    fn a_probe_that_says_nothing_lets_another_one_through() {
        let start = Instant::now();
        let mut breaker = Breaker::new(settings(), start);
        for _ in 0..5 {
            call(&mut breaker, Verdict::Failure, start);
        }
        let later = start + Duration::from_secs(10);
        assert!(call(&mut breaker, Verdict::Neutral, later));
        assert!(call(&mut breaker, Verdict::Failure, later));
        assert_eq!(breaker.state(later).0, BreakerState::Open);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Wait(u64),
        Admit,
        End(Verdict),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let verdict = prop_oneof![Just(Verdict::Success), Just(Verdict::Failure), Just(Verdict::Neutral)];
        let step = prop_oneof![
            (0_u64..20_000).prop_map(Step::Wait),
            Just(Step::Admit),
            Just(Step::Admit),
            verdict.prop_map(Step::End)
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn whatever_happens_it_lets_through_what_its_state_says(steps in steps()) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(settings(), now);
            let mut under_way = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(ms) => now += Duration::from_millis(ms),
                    Step::Admit => {
                        let before = breaker.state(now).0;
                        let probes = under_way.iter().filter(|permit: &&Permit| permit.probe).count();
                        match breaker.admit(now) {
                            Ok(permit) => {
                                prop_assert_ne!(before, BreakerState::Open);
                                prop_assert_eq!(permit.probe, before == BreakerState::HalfOpen);
                                prop_assert!(!permit.probe || probes == 0, "never two probes");
                                under_way.push(permit);
                            }
                            Err(wait) => {
                                prop_assert_ne!(before, BreakerState::Closed);
                                prop_assert!(wait <= settings().open_for);
                            }
                        }
                    }
                    Step::End(verdict) => {
                        if let Some(permit) = under_way.pop() {
                            breaker.record(permit, verdict, now);
                            if permit.probe {
                                let expected = match verdict {
                                    Verdict::Success => BreakerState::Closed,
                                    Verdict::Failure => BreakerState::Open,
                                    Verdict::Neutral => BreakerState::HalfOpen,
                                };
                                prop_assert_eq!(breaker.state(now).0, expected);
                            }
                        }
                    }
                }
            }
            // It never stays shut: after the pause a call gets through, once no probe is under way.
            for permit in under_way {
                breaker.record(permit, Verdict::Neutral, now);
            }
            prop_assert!(breaker.admit(now + settings().open_for).is_ok());
        }
    }
}
