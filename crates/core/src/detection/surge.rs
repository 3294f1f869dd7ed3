//! More of one thing in a short time than there should be.

use std::collections::VecDeque;
use std::time::Duration;

use fleetward_base::Timestamp;

use super::QUIET;

/// What is remembered of one thing that happens.
#[derive(Clone, Debug, Default)]
pub struct Surge {
    /// The newest moments, at most as many as make a surge.
    moments: VecDeque<Timestamp>,
    told: Option<Timestamp>,
}

impl Surge {
    /// Takes note that it happened; `true` where it has now happened `threshold` times within `window`, and that was not
    /// said lately.
    pub fn happened(&mut self, at: Timestamp, threshold: u32, window: Duration) -> bool {
        let most = usize::try_from(threshold.max(1)).unwrap_or(usize::MAX);
        self.moments.push_back(at);
        while self.moments.len() > most {
            self.moments.pop_front();
        }
        let full = self.moments.len() == most;
        let quick = self.moments.front().is_some_and(|first| at.since(*first) <= window);
        let quiet = self.told.is_some_and(|told| at.since(told) < QUIET);
        if full && quick && !quiet {
            self.told = Some(at);
            return true;
        }
        false
    }

    /// Whether it has not happened within `window`, and nothing is left to keep quiet about.
    pub fn is_stale(&self, now: Timestamp, window: Duration) -> bool {
        let old = |moment: &Timestamp, span| now.since(*moment) > span;
        self.moments.back().is_none_or(|last| old(last, window)) && self.told.is_none_or(|told| old(&told, QUIET))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn found(seconds: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut surge = Surge::default();
        let happened = |second: &i64| surge.happened(Timestamp::from_secs(*second), 5, WINDOW);
        seconds.into_iter().filter(happened).collect()
    }

    #[test]
    fn a_surge_is_many_at_once_and_is_told_once() {
        assert_eq!(found(0..4), [0; 0]);
        assert_eq!(found(0..50), [4]);
        assert_eq!(found((0..50).map(|n| n * 150)), [600, 4200], "an hour later it is worth saying again");
        assert_eq!(found((0..50).map(|n| n * 151)), [0; 0], "slower than the window");
        assert_eq!(found((0..10).chain(4000..4010)), [4, 4000 + 4]);
        assert_eq!(found([0; 5]), [0], "all at one moment");
    }

    #[test]
    fn memory_is_bounded_by_what_makes_a_surge() {
        let mut surge = Surge::default();
        for second in 0..10_000 {
            surge.happened(Timestamp::from_secs(second), 5, WINDOW);
        }
        assert_eq!(surge.moments.len(), 5);
        assert!(!surge.is_stale(Timestamp::from_secs(10_001), WINDOW));
        assert!(surge.is_stale(Timestamp::from_secs(20_000), WINDOW));
    }
}
