//! A circuit breaker: who does not answer is not asked for a while, so that devices are told at once to come back.

use std::time::Duration;

/// Failures in a row after which it opens.
const FAILURES: u32 = 5;
/// How long it stays open before one request may try.
const OPEN: Duration = Duration::from_secs(30);

/// Moments are spans of a clock that only goes on.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Duration>,
}

impl Breaker {
    /// Whether somebody may be asked now. Once its time is over one caller may, and the others wait for what it finds.
    pub(super) fn admits(&mut self, now: Duration) -> bool {
        match self.open_until {
            Some(until) if now < until => false,
            Some(_) => {
                self.open_until = Some(now.saturating_add(OPEN));
                true
            }
            None => true,
        }
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// `wait` is what it asked for itself, if it did.
    pub(super) fn failed(&mut self, now: Duration, wait: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES || wait.is_some() {
            self.open_until = Some(now.saturating_add(wait.unwrap_or(OPEN).clamp(Duration::from_secs(1), OPEN * 10)));
        }
    }

    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.open_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try() {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES - 1 {
            breaker.failed(at(0), None);
        }
        assert!(breaker.admits(at(0)));
        breaker.succeeded();
        for _ in 0..FAILURES {
            assert!(breaker.admits(at(1)));
            breaker.failed(at(1), None);
        }
        assert!(breaker.is_open(at(1)) && !breaker.admits(at(30)));
        assert!(breaker.admits(at(31)) && !breaker.admits(at(32)), "one tries and the others wait for it");
        breaker.succeeded();
        assert!(breaker.admits(at(33)));
    }

    #[test]
    fn it_waits_as_long_as_it_was_told_within_reason() {
        for (asked, waits) in [(0, 1), (7, 7), (1_000_000, 300)] {
            let mut breaker = Breaker::default();
            breaker.failed(at(0), Some(at(asked)));
            assert!(!breaker.admits(at(waits) - Duration::from_millis(1)), "{asked}");
            assert!(breaker.admits(at(waits)), "{asked}");
        }
    }
}
