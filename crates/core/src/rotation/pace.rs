//! How fast certificates are renewed, so that a fleet that comes at once is served in turn.
//!
//! An allowance refills with time (GCRA: one moment says all). Who finds none is told when to come back: each gets a turn of
//! its own behind those that were told before it, with some chance on top, so that those who wait do not come back together.

use std::time::Duration;

/// Nobody is sent away for longer.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The allowance of one tenant, or of the installation. Times are of a monotonic clock.
#[derive(Clone, Debug)]
pub struct Pace {
    /// One more becomes free each time this has passed.
    interval: Duration,
    /// What a burst may be ahead of that.
    slack: Duration,
    paid_until: Duration,
    /// The turn of whoever was told last.
    last_turn: Duration,
}

impl Pace {
    /// A pace of none a second counts as one.
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let slack = interval * burst.saturating_sub(1);
        Self { interval, slack, paid_until: Duration::ZERO, last_turn: Duration::ZERO }
    }

    /// Whether one more may be served now.
    pub fn has_room(&self, now: Duration) -> bool {
        self.paid_until.saturating_sub(now) <= self.slack
    }

    /// Counts one that is served.
    pub fn take(&mut self, now: Duration) {
        self.paid_until = self.paid_until.max(now) + self.interval;
    }

    /// When whoever found no room is to come back. `chance` is between 0 and 1.
    pub fn turn(&mut self, now: Duration, chance: f64) -> Duration {
        let first = self.paid_until.saturating_sub(self.slack);
        let turn = self.last_turn.max(first).max(now) + self.interval;
        let wait = (turn - now).mul_f64(1.0 + 0.25 * chance.clamp(0.0, 1.0));
        if wait <= LONGEST {
            self.last_turn = turn;
            return wait.max(Duration::from_secs(1));
        }
        // The line is as long as it gets: those at its end are spread over its second half.
        LONGEST.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fleetward_base::{Rng, SeededRng};

    use super::*;

    /// Serves a fleet that comes at once; gives how long it took, the most in one second, and how often they came in all.
    fn storm(devices: u64, per_second: u32, burst: u32) -> (u64, u64, u64) {
        let rng = SeededRng::new(devices);
        let mut pace = Pace::new(per_second, burst);
        let mut coming: BTreeMap<u64, u64> = BTreeMap::from([(0, devices)]);
        let (mut attempts, mut most, mut last) = (0, 0, 0);
        while let Some((second, count)) = coming.pop_first() {
            let now = Duration::from_secs(second);
            let mut served = 0;
            for _ in 0..count {
                attempts += 1;
                if pace.has_room(now) {
                    pace.take(now);
                    served += 1;
                    last = second;
                } else {
                    let chance = f64::from(u32::try_from(rng.next_u64() % 1000).expect("small")) / 1000.0;
                    let wait = pace.turn(now, chance).as_secs_f64().ceil();
                    *coming.entry(second + format!("{wait}").parse::<u64>().expect("seconds")).or_default() += 1;
                }
            }
            most = most.max(served);
        }
        (last, most, attempts)
    }

    #[test]
    fn a_fleet_that_comes_at_once_is_served_in_turn() {
        let (took, most, attempts) = storm(10_000, 50, 100);
        assert!(most <= 150, "{most} in one second");
        assert!((190..=400).contains(&took), "10000 at 50 a second took {took} s");
        assert!(attempts <= 3 * 10_000, "{attempts} attempts");
        // More than can be served within the longest wait: all of them are, in the end.
        let (took, most, attempts) = storm(10_000, 1, 1);
        assert!(most <= 2 && took >= 9_999, "{most} {took}");
        assert!(attempts <= 10 * 10_000, "{attempts} attempts");
    }

    #[test]
    fn a_burst_passes_and_then_a_steady_pace() {
        let mut pace = Pace::new(1, 3);
        let mut at = |secs: u64| {
            let now = Duration::from_secs(secs);
            let room = pace.has_room(now);
            if room {
                pace.take(now);
            }
            room
        };
        assert_eq!([at(0), at(0), at(0), at(0), at(1), at(1)], [true, true, true, false, true, false]);
    }

    #[test]
    fn turns_lie_one_behind_the_other() {
        let mut pace = Pace::new(2, 1);
        pace.take(Duration::ZERO);
        let waits: Vec<u64> =
            (0..8).map(|_| u64::try_from(pace.turn(Duration::ZERO, 0.0).as_millis()).expect("small")).collect();
        assert_eq!(waits, [1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500]);
        assert_eq!(pace.turn(Duration::from_secs(7200), 1.0), Duration::from_secs(1));
    }
}
