//! When to say that a certificate is about to end (requirement I10): at 30, 14 and 7 days, and when it has ended; each once.

use std::time::Duration;

use fleetward_base::Timestamp;

use crate::journal::Severity;

/// Days before the end of a certificate, the first first.
pub const DAYS: [u32; 3] = [30, 14, 7];
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Something to be said of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The limit that was passed; zero where it has ended.
    pub days: u32,
    pub severity: Severity,
}

/// What is to be said now; `told` is the [`Alert::days`] that was said last. Where several limits were passed since, only the
/// most urgent is said. A limit longer than half of a certificate's life would be passed by every one of its kind in good
/// order, and says nothing.
pub fn due(now: Timestamp, not_before: Timestamp, not_after: Timestamp, told: Option<u32>) -> Option<Alert> {
    let passed = DAYS.iter().rev().copied();
    let mut passed = passed.filter(|days| not_after.since(now) <= DAY * *days && speaks(*days, not_before, not_after));
    let days = if now > not_after { 0 } else { passed.next()? };
    if told.is_some_and(|told| told <= days) {
        return None;
    }
    let severity = match days {
        0 | 7 => Severity::Critical,
        14 => Severity::Warning,
        _ => Severity::Notice,
    };
    Some(Alert { days, severity })
}

/// When there may be something to say next; none where all was said.
pub fn next(not_before: Timestamp, not_after: Timestamp, told: Option<u32>) -> Option<Timestamp> {
    let left = DAYS.iter().copied().filter(|days| told.is_none_or(|told| *days < told));
    match left.clone().find(|days| speaks(*days, not_before, not_after)) {
        Some(days) => Some(not_after.minus(DAY * days)),
        None if told == Some(0) => None,
        None => Some(not_after.plus(Duration::from_millis(1))),
    }
}

fn speaks(days: u32, not_before: Timestamp, not_after: Timestamp) -> bool {
    DAY * days * 2 <= not_after.since(not_before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// What is said of a certificate of `life` days, looked at on each of `days`.
    fn check(life: u32, days: &[u32], expect: &[(u32, u32)]) {
        let mut told = None;
        let mut said = Vec::new();
        for day in days {
            if let Some(alert) = due(START.plus(DAY * *day), START, START.plus(DAY * life), told) {
                told = Some(alert.days);
                said.push((*day, alert.days));
            }
        }
        assert_eq!(said, expect, "{life} {days:?}");
    }

    #[test]
    fn each_limit_once() {
        let all: Vec<u32> = (0..100).collect();
        check(90, &all, &[(60, 30), (76, 14), (83, 7), (91, 0)]);
        check(90, &[0, 80, 80, 95, 96], &[(80, 14), (95, 0)]);
        // A limit that every certificate of its kind would pass says nothing.
        check(40, &all, &[(26, 14), (33, 7), (41, 0)]);
        check(1, &all, &[(2, 0)]);
        // The server's clock went back: nothing is said twice.
        check(90, &[84, 61, 77, 84, 91, 62], &[(84, 7), (91, 0)]);
    }

    #[test]
    fn every_next_look_has_something_to_say() {
        for life in [1, 20, 40, 90, 400] {
            let end = START.plus(DAY * life);
            let (mut told, mut looks) = (None, 0);
            while let Some(at) = next(START, end, told) {
                let alert = due(at, START, end, told).expect("something");
                assert_eq!(due(at.minus(Duration::from_millis(1)), START, end, told), None, "not before its time");
                told = Some(alert.days);
                looks += 1;
            }
            assert_eq!(
                (told, looks),
                (Some(0), [1, 2, 3, 4, 4][[1, 20, 40, 90, 400].iter().position(|l| *l == life).expect("one")])
            );
        }
    }

    #[test]
    fn the_nearer_the_end_the_louder() {
        let severity =
            |day: u32| due(START.plus(DAY * day), START, START.plus(DAY * 90), None).map(|alert| alert.severity);
        assert_eq!(
            [50, 60, 76, 83, 99].map(severity),
            [None, Some(Severity::Notice), Some(Severity::Warning), Some(Severity::Critical), Some(Severity::Critical)]
        );
    }
}
