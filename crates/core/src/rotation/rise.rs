//! Whether a tenant's renewals fail more often than they used to.
//!
//! The last hour is held against the day before it. A few failures say nothing, and a tenant where every third renewal has
//! always failed is not worth a second alert; a tenant where none did, and one in ten does now, is.

use std::collections::BTreeMap;
use std::time::Duration;

/// Renewals are counted in pieces of this.
const PIECE: Duration = Duration::from_secs(600);
/// The last hour, and the day that it is held against.
const RECENT: u64 = 6;
const KEPT: u64 = 6 * 25;
/// Fewer failures in an hour say nothing.
const MIN_FAILED: u32 = 5;
/// Nor does a smaller share, in percent.
const MIN_PERCENT: u64 = 10;
/// So many times the share of the day before.
const TIMES: u64 = 3;

/// Renewals that were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub failed: u32,
    pub total: u32,
}

impl Count {
    /// In percent, rounded up.
    pub fn percent(self) -> u64 {
        (u64::from(self.failed) * 100).div_ceil(u64::from(self.total.max(1)))
    }

    fn add(&mut self, other: Self) {
        self.failed = self.failed.saturating_add(other.failed);
        self.total = self.total.saturating_add(other.total);
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// They fail more often now.
    Risen { recent: Count, before: Count },
    /// They do no longer.
    Fallen { recent: Count },
}

/// What is remembered of a tenant's renewals. Times are of a monotonic clock.
#[derive(Clone, Debug, Default)]
pub struct Renewals {
    pieces: BTreeMap<u64, Count>,
    risen: bool,
}

impl Renewals {
    /// Counts one that ended.
    pub fn note(&mut self, now: Duration, failed: bool) {
        let piece = self.pieces.entry(number(now)).or_default();
        piece.add(Count { failed: u32::from(failed), total: 1 });
    }

    /// Whether anything changed; each change is told once. Forgets what is too old to count.
    pub fn look(&mut self, now: Duration) -> Option<Change> {
        let now = number(now);
        self.pieces.retain(|at, _| at.saturating_add(KEPT) > now);
        let (mut recent, mut before) = (Count::default(), Count::default());
        for (at, count) in &self.pieces {
            if at.saturating_add(RECENT) > now { recent.add(*count) } else { before.add(*count) }
        }
        let limit = MIN_PERCENT.max(TIMES.saturating_mul(before.percent()).min(90));
        let risen = recent.failed >= MIN_FAILED && recent.percent() > limit;
        let calm = recent.failed < MIN_FAILED || recent.percent() * 2 <= limit;
        if risen && !self.risen {
            self.risen = true;
            return Some(Change::Risen { recent, before });
        }
        if calm && self.risen {
            self.risen = false;
            return Some(Change::Fallen { recent });
        }
        None
    }

    /// Nothing is remembered, and nothing was said that is to be taken back.
    pub fn is_idle(&self) -> bool {
        self.pieces.is_empty() && !self.risen
    }
}

fn number(now: Duration) -> u64 {
    now.as_secs() / PIECE.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays hours of `(failed, succeeded)` and gives the hours in which something changed.
    fn play(hours: &[(u32, u32)]) -> Vec<(usize, &'static str)> {
        let mut renewals = Renewals::default();
        let mut changes = Vec::new();
        for (hour, (failed, succeeded)) in hours.iter().enumerate() {
            for minute in 0..60_u32 {
                let now = Duration::from_secs(u64::try_from(hour).expect("small") * 3600 + u64::from(minute) * 60);
                for _ in 0..share(*failed, minute) {
                    renewals.note(now, true);
                }
                for _ in 0..share(*succeeded, minute) {
                    renewals.note(now, false);
                }
                match renewals.look(now) {
                    Some(Change::Risen { .. }) => changes.push((hour, "risen")),
                    Some(Change::Fallen { .. }) => changes.push((hour, "fallen")),
                    None => {}
                }
            }
        }
        changes
    }

    /// An hour's number spread over its minutes.
    fn share(of: u32, minute: u32) -> u32 {
        of * (minute + 1) / 60 - of * minute / 60
    }

    #[test]
    fn rises_are_told_once_and_so_is_their_end() {
        assert_eq!(play(&[(0, 60); 5]), []);
        assert_eq!(play(&[(0, 60), (4, 60), (0, 60)]), [], "a few say nothing");
        assert_eq!(play(&[(0, 60), (20, 60), (20, 60), (0, 60), (0, 60)]), [(1, "risen"), (3, "fallen")]);
        let mut always = vec![(20, 40); 30];
        assert_eq!(play(&always), [(0, "risen"), (1, "fallen")], "one that was always so is told once");
        always.extend([(60, 0), (60, 0)]);
        assert_eq!(play(&always).len(), 3, "until it gets much worse");
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut renewals = Renewals::default();
        renewals.note(Duration::ZERO, true);
        assert_eq!(renewals.look(Duration::from_secs(30 * 3600)), None);
        assert!(renewals.is_idle());
    }
}
