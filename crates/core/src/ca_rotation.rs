//! One authority follows another, in stages that wait for the fleet.
//!
//! ```text
//! publish  the new one is shown (cacerts, trust index) and does not sign yet
//! issue    the new one signs; what the old one signed keeps counting
//! retired  nothing rests on the old one any more: it is forgotten
//! ```
//! The stage only moves on, one step at a time, and [`plan`] never takes a step while fewer devices than wanted hold the
//! new anchor or something still rests on the old authority: only an operator's word ([`Forced`]) does.

use std::time::Duration;

use fleetward_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text::text_enum;

text_enum! {
    /// What is being followed.
    pub enum Kind("kind of rotation") {
        /// The authority that signs a tenant's devices. They need not know it to be known by it.
        Issuing => "issuing",
        /// The root, by which devices know the server: they must hold the new one first.
        Root => "root",
    }
}

text_enum! {
    /// How far it is.
    pub enum Stage("stage of a rotation") {
        Publish => "publish",
        Issue => "issue",
        Retired => "retired",
        Canceled => "canceled",
    }
}

impl Stage {
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Retired | Self::Canceled)
    }
}

/// Hundredths of a percent: 9950 is 99.5 %.
pub const WHOLE: u32 = 10_000;

/// What an operator wants of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How many of the active devices must hold the new anchor, in hundredths of a percent.
    pub threshold: u32,
    /// How long the new authority is shown at least before it signs.
    pub publish_secs: u64,
    /// How long the new one signs at least before the old one is retired.
    pub settle_secs: u64,
}

impl Plan {
    /// Where nothing else is said. An issuing authority is shown for as long as servers take to learn of it.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Issuing => Self { threshold: 0, publish_secs: 60, settle_secs: 0 },
            Kind::Root => Self { threshold: 9950, publish_secs: 0, settle_secs: 24 * 3600 },
        }
    }
}

/// How the rotation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    pub stage: Stage,
    /// Since when.
    pub stage_at: Timestamp,
    pub plan: Plan,
}

/// What was seen of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    pub active: u64,
    /// Those of them that hold the new anchor.
    pub holding: u64,
    /// What still rests on the old authority: certificates that count, authorities below it.
    pub resting: u64,
    /// What roots that are kept offline have not signed yet. An old one that was lost never will: force goes past that.
    pub awaiting: u64,
}

impl Observed {
    /// Whether enough of the active devices hold the new anchor; nobody to wait for is enough.
    pub fn enough(&self, threshold: u32) -> bool {
        u128::from(self.holding) * u128::from(WHOLE) >= u128::from(self.active) * u128::from(threshold.min(WHOLE))
    }
}

/// What a rotation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// Devices that do not hold the new anchor.
    Anchors { active: u64, holding: u64, threshold: u32 },
    /// Time.
    Until(Timestamp),
    /// Something rests on the old authority.
    Resting(u64),
    /// Certificates that an offline root has yet to sign.
    Imports(u64),
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    To(Stage),
    Wait(Waits),
    /// It is over.
    Nothing,
}

/// An operator's word that the next step is to be taken whatever is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forced(pub bool);

/// The next step, if it may be taken now.
pub fn plan(now: Timestamp, rotation: &Rotation, seen: &Observed, forced: Forced) -> Step {
    let (next, least) = match rotation.stage {
        Stage::Publish => (Stage::Issue, rotation.plan.publish_secs),
        Stage::Issue => (Stage::Retired, rotation.plan.settle_secs),
        Stage::Retired | Stage::Canceled => return Step::Nothing,
    };
    if forced.0 {
        return Step::To(next);
    }
    if next == Stage::Issue && seen.awaiting > 0 {
        return Step::Wait(Waits::Imports(seen.awaiting));
    }
    let threshold = rotation.plan.threshold;
    if !seen.enough(threshold) {
        return Step::Wait(Waits::Anchors { active: seen.active, holding: seen.holding, threshold });
    }
    if next == Stage::Retired && seen.resting > 0 {
        return Step::Wait(Waits::Resting(seen.resting));
    }
    let until = rotation.stage_at.plus(Duration::from_secs(least));
    if now < until { Step::Wait(Waits::Until(until)) } else { Step::To(next) }
}

/// Whether it may still be called off: not once the new authority signs.
pub const fn may_cancel(stage: Stage) -> bool {
    matches!(stage, Stage::Publish)
}

/// Whether less than a fifth of an authority's life is left: time to have another follow it.
pub fn ends_soon(now: Timestamp, not_before: Timestamp, not_after: Timestamp) -> bool {
    let (whole, left) = (not_after.since(not_before), not_after.since(now));
    left.as_secs().saturating_mul(5) < whole.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn rotation(stage: Stage, since: i64, kind: Kind) -> Rotation {
        Rotation { stage, stage_at: at(since), plan: Plan::of(kind) }
    }

    fn seen(active: u64, holding: u64, resting: u64) -> Observed {
        Observed { active, holding, resting, awaiting: 0 }
    }

    #[test]
    fn a_table_of_cases() {
        use Kind::{Issuing, Root};
        use Stage::{Canceled, Issue, Publish, Retired};
        let anchors = |active, holding| Step::Wait(Waits::Anchors { active, holding, threshold: 9950 });
        let day = 24 * 3600;
        for (rotation, seen, forced, expected) in [
            (rotation(Publish, NOW, Root), seen(0, 0, 0), false, Step::To(Issue)),
            (rotation(Publish, NOW, Root), seen(1, 0, 0), false, anchors(1, 0)),
            (rotation(Publish, NOW, Root), seen(1000, 994, 0), false, anchors(1000, 994)),
            (rotation(Publish, NOW, Root), seen(1000, 995, 7), false, Step::To(Issue)),
            (rotation(Publish, NOW, Root), seen(1000, 0, 7), true, Step::To(Issue)),
            (rotation(Issue, NOW, Root), seen(1000, 1000, 0), false, Step::Wait(Waits::Until(at(NOW + day)))),
            (rotation(Issue, NOW - day, Root), seen(1000, 1000, 0), false, Step::To(Retired)),
            (rotation(Issue, NOW - day, Root), seen(1000, 1000, 3), false, Step::Wait(Waits::Resting(3))),
            // Devices that came back without it hold the old one up.
            (rotation(Issue, NOW - day, Root), seen(1000, 990, 0), false, anchors(1000, 990)),
            (rotation(Issue, NOW, Root), seen(1000, 0, 3), true, Step::To(Retired)),
            (rotation(Publish, NOW - 59, Issuing), seen(9, 0, 9), false, Step::Wait(Waits::Until(at(NOW + 1)))),
            (rotation(Publish, NOW - 60, Issuing), seen(9, 0, 9), false, Step::To(Issue)),
            (rotation(Issue, NOW, Issuing), seen(9, 0, 1), false, Step::Wait(Waits::Resting(1))),
            (rotation(Issue, NOW, Issuing), seen(9, 0, 0), false, Step::To(Retired)),
            (rotation(Retired, NOW, Root), seen(0, 0, 0), true, Step::Nothing),
            (rotation(Canceled, NOW, Root), seen(0, 0, 0), true, Step::Nothing),
        ] {
            assert_eq!(plan(at(NOW), &rotation, &seen, Forced(forced)), expected, "{rotation:?} {seen:?} {forced}");
        }
    }

    #[test]
    fn a_fifth_of_a_life() {
        for (now, soon) in [(0, false), (79, false), (80, false), (81, true), (100, true), (200, true)] {
            assert_eq!(ends_soon(at(now), at(0), at(100)), soon, "{now}");
        }
    }

    fn stages() -> impl Strategy<Value = Stage> {
        proptest::sample::select(Stage::ALL)
    }

    proptest! {
        #[test]
        fn never_while_too_few_hold_it(
            stage in stages(), active in 0..10_000_u64, holding in 0..10_000_u64, resting in 0..3_u64, awaiting in 0..2_u64,
            threshold in 0..=WHOLE, publish_secs in 0..1000_u64, settle_secs in 0..1000_u64, passed in 0..2000_i64,
        ) {
            let plan_of = Plan { threshold, publish_secs, settle_secs };
            let rotation = Rotation { stage, stage_at: at(NOW), plan: plan_of };
            let seen = Observed { active, holding: holding.min(active), resting, awaiting };
            let step = plan(at(NOW + passed), &rotation, &seen, Forced(false));
            if let Step::To(next) = step {
                prop_assert!(seen.enough(threshold));
                prop_assert!(next != Stage::Retired || resting == 0);
                prop_assert!(next != Stage::Issue || awaiting == 0);
                // One step at a time, and never back.
                prop_assert!(matches!((stage, next), (Stage::Publish, Stage::Issue) | (Stage::Issue, Stage::Retired)));
            }
            // What is over stays so, also by force.
            if stage.is_over() {
                prop_assert_eq!(plan(at(NOW + passed), &rotation, &seen, Forced(true)), Step::Nothing);
            }
            // The same again says the same.
            prop_assert_eq!(plan(at(NOW + passed), &rotation, &seen, Forced(false)), step);
        }

        #[test]
        fn more_devices_and_more_time_never_hold_it_up(
            active in 0..1000_u64, holding in 0..1000_u64, more in 0..1000_u64, passed in 0..2000_i64, later in 0..2000_i64,
        ) {
            let rotation = rotation(Stage::Publish, NOW, Kind::Root);
            let before = Observed { active, holding: holding.min(active), resting: 0, awaiting: 0 };
            let after = Observed { holding: (holding + more).min(active), ..before };
            if plan(at(NOW + passed), &rotation, &before, Forced(false)) == Step::To(Stage::Issue) {
                let step = plan(at(NOW + passed + later), &rotation, &after, Forced(false));
                prop_assert_eq!(step, Step::To(Stage::Issue));
            }
        }
    }
}
