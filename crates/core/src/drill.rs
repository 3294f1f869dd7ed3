//! What an incident command would leave behind, decided without doing it: which device goes on, which comes back and how,
//! and which is stranded.
//!
//! What such a command meets is asked of the store by the same code that works on it; here is only what becomes of each
//! device afterwards. It errs to the careful side: a device of which nothing is known is not counted on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetward_base::{RolloutId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::enrolment::Way;
use crate::revocation::{BadTarget, Target};
use crate::text::text_enum;

/// What is rehearsed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "scenario", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scenario {
    /// Somebody has a key: of a device, a claim, an issuing authority.
    KeyCompromise {
        target: Target,
        /// Devices are to replace their certificate within this; without it everything ends at once.
        #[serde(default)]
        replace_within_s: Option<u64>,
    },
    /// An authority, a group or a tenant with all that hangs on it.
    RevocationCascade { target: Target },
    /// Updates are taken back.
    MassRollback {
        /// Without any: every rollout that can be rolled back.
        #[serde(default)]
        rollouts: BTreeSet<RolloutId>,
    },
}

impl Scenario {
    /// Its name on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::KeyCompromise { .. } => "key-compromise",
            Self::RevocationCascade { .. } => "revocation-cascade",
            Self::MassRollback { .. } => "mass-rollback",
        }
    }

    /// # Errors
    /// [`BadTarget`] as of a revocation, and where the key of something is meant that has none.
    pub fn check(&self) -> Result<(), BadTarget> {
        match self {
            Self::KeyCompromise { target: Target::Group { .. } | Target::Tenant, .. } => {
                let why =
                    "a key is that of a certificate, a device, a claim or an authority; for more, revocation_cascade";
                Err(BadTarget { field: "drill.target", why })
            }
            Self::KeyCompromise { target, replace_within_s } => {
                if replace_within_s.is_some() && target.is_of_certificates() {
                    let why = "a replacement is asked of devices and claims";
                    return Err(BadTarget { field: "drill.replace_within_s", why });
                }
                target.check()
            }
            Self::RevocationCascade { target } => target.check(),
            Self::MassRollback { .. } => Ok(()),
        }
    }
}

/// What is known of a device beside what it loses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// It is lost, decommissioned or gone: nobody expects it back.
    pub at_end: bool,
    /// It holds another certificate that goes on counting.
    pub other: bool,
    /// When the last of what it loses would have ended by itself; none where it loses no certificate.
    pub lost_until: Option<Timestamp>,
    pub online: bool,
    pub last_seen: Option<Timestamp>,
    /// It can come in anew by this way, by itself.
    pub own_way: Option<Way>,
    /// A one-time token was given out for it and will still count.
    pub token: bool,
}

/// How the command goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Certificates are revoked; devices stay what they are.
    Certificates,
    /// Devices are suspended too.
    Devices,
    /// Devices are asked to renew by this moment.
    Replace(Timestamp),
}

/// The clock that fates are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub now: Timestamp,
    /// A device that was not heard of for longer is not counted on.
    pub silent_after: Duration,
    /// For how long after its end a certificate may be renewed with.
    pub expired: Duration,
}

/// What becomes of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It was not expected back before.
    AtEnd,
    /// It has another certificate.
    GoesOn,
    /// It renews with the one that it is to lose.
    Renews,
    /// It enrols anew by itself.
    Returns(Way),
    /// So it does once an operator has resumed it.
    Resumed(Way),
    Stranded(Why),
}

text_enum! {
    /// Why a device does not come back by itself.
    pub enum Why("reason to be stranded") {
        /// Nothing that it has lets it in again: somebody has to bring it a token.
        NoWay => "no_way",
        /// It was not heard of for too long to be reached in time.
        Silent => "silent",
        /// What it would have to renew with has ended.
        Expired => "expired",
        /// Neither the other slot nor a release has what it ran before.
        NoImage => "no_image",
    }
}

impl Fate {
    /// How it is counted: `returns:symmetric_key`.
    pub fn words(self) -> String {
        match self {
            Self::AtEnd => "at_end".to_owned(),
            Self::GoesOn => "goes_on".to_owned(),
            Self::Renews => "renews".to_owned(),
            Self::Returns(way) => format!("returns:{way}"),
            Self::Resumed(way) => format!("resumed:{way}"),
            Self::Stranded(why) => format!("stranded:{why}"),
        }
    }
}

/// What becomes of a device that is met.
pub fn fate(terms: &Terms, manner: Manner, met: &Met) -> Fate {
    if met.at_end {
        return Fate::AtEnd;
    }
    if met.other {
        return Fate::GoesOn;
    }
    let expired = met.lost_until.is_some_and(|until| until < terms.now);
    let stranded = match manner {
        Manner::Replace(_) => {
            let renewable = met.lost_until.is_none_or(|until| terms.now <= until.plus(terms.expired));
            match (renewable, is_silent(terms, met.online, met.last_seen)) {
                (true, false) => return Fate::Renews,
                (false, _) => Why::Expired,
                (true, true) => Why::Silent,
            }
        }
        Manner::Certificates | Manner::Devices if expired => Why::Expired,
        Manner::Certificates | Manner::Devices => Why::NoWay,
    };
    match (manner, met.own_way) {
        // What it has had all along does not undo a suspension (`enrolment::permits`), and its tokens end with it.
        (Manner::Devices, Some(way)) => Fate::Resumed(way),
        (Manner::Devices, None) => Fate::Stranded(stranded),
        (_, Some(way)) => Fate::Returns(way),
        (_, None) if met.token => Fate::Returns(Way::Token),
        (_, None) => Fate::Stranded(stranded),
    }
}

/// Whether a device was not heard of for too long. One that never was is.
pub fn is_silent(terms: &Terms, online: bool, last_seen: Option<Timestamp>) -> bool {
    !online && last_seen.is_none_or(|seen| terms.now.since(seen) > terms.silent_after)
}

/// A device that is to go back to what it ran before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prospect {
    /// It says that it runs what is to be taken back, or says nothing.
    pub runs_it: bool,
    /// Another update began to be written over its other slot since.
    pub overwritten: bool,
    /// There is a release of what it ran before, for its hardware.
    pub image: bool,
}

/// Where a device has what it goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Back {
    OtherSlot,
    /// By a rollout of the release before.
    FullImage,
    Stranded,
}

/// Where the device has what it goes back to.
pub const fn back(prospect: &Prospect) -> Back {
    match (prospect.runs_it && !prospect.overwritten, prospect.image) {
        (true, _) => Back::OtherSlot,
        (false, true) => Back::FullImage,
        (false, false) => Back::Stranded,
    }
}

/// How fast something went that was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    pub items: u64,
    pub took: Duration,
}

impl Pace {
    /// The pace of all of these together; none where nothing was measured.
    pub fn of(samples: impl IntoIterator<Item = (u64, Duration)>) -> Option<Self> {
        let sum = samples.into_iter().fold(Self::default(), |sum, (items, took)| Self {
            items: sum.items.saturating_add(items),
            took: sum.took.saturating_add(took),
        });
        (sum.items > 0 && !sum.took.is_zero()).then_some(sum)
    }

    /// How long so many take.
    pub fn takes(&self, items: u64) -> Duration {
        let nanos = self.took.as_nanos().saturating_mul(u128::from(items)) / u128::from(self.items.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// How many devices stand where, by what groups are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(BTreeMap<(&'static str, String), u64>);

impl Groups {
    pub fn add(&mut self, by: &'static str, name: &str) {
        *self.0.entry((by, name.to_owned())).or_default() += 1;
    }

    /// The largest first, `most` of each kind.
    pub fn largest(&self, most: usize) -> Vec<(&'static str, String, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|((by, name), count)| (*by, name.clone(), *count)).collect();
        all.sort_by(|one, other| (one.0, other.2, &one.1).cmp(&(other.0, one.2, &other.1)));
        let mut shown: BTreeMap<&'static str, usize> = BTreeMap::new();
        all.retain(|(by, ..)| {
            let count = shown.entry(by).or_default();
            *count += 1;
            *count <= most
        });
        all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn terms() -> Terms {
        Terms { now: Timestamp::from_secs(1_000_000_000), silent_after: 7 * DAY, expired: 2 * DAY }
    }

    fn days(days: i64) -> Option<Timestamp> {
        Some(Timestamp::from_secs(1_000_000_000 + days * 86_400))
    }

    #[test]
    fn fates() {
        let met = Met { lost_until: days(30), last_seen: days(-1), ..Met::default() };
        let keyed = Met { own_way: Some(Way::SymmetricKey), ..met };
        let replace = Manner::Replace(Timestamp::from_secs(1_000_086_400));
        for (manner, met, expect) in [
            (Manner::Certificates, met, "stranded:no_way"),
            (Manner::Certificates, Met { other: true, ..met }, "goes_on"),
            (Manner::Certificates, keyed, "returns:symmetric_key"),
            (Manner::Certificates, Met { token: true, ..met }, "returns:token"),
            (Manner::Certificates, Met { lost_until: days(-1), ..met }, "stranded:expired"),
            (Manner::Certificates, Met { at_end: true, other: true, ..met }, "at_end"),
            (Manner::Devices, met, "stranded:no_way"),
            // Its tokens are revoked with it, and its key waits for an operator.
            (Manner::Devices, Met { token: true, ..met }, "stranded:no_way"),
            (Manner::Devices, keyed, "resumed:symmetric_key"),
            (replace, met, "renews"),
            (replace, Met { last_seen: days(-8), ..met }, "stranded:silent"),
            (replace, Met { last_seen: days(-8), online: true, ..met }, "renews"),
            (replace, Met { last_seen: None, ..met }, "stranded:silent"),
            (replace, Met { last_seen: days(-8), ..keyed }, "returns:symmetric_key"),
            (replace, Met { lost_until: days(-1), ..met }, "renews"),
            (replace, Met { lost_until: days(-3), ..met }, "stranded:expired"),
        ] {
            assert_eq!(fate(&terms(), manner, &met).words(), expect, "{manner:?} {met:?}");
        }
    }

    #[test]
    fn ways_back() {
        let on = Prospect { runs_it: true, overwritten: false, image: false };
        assert_eq!(back(&on), Back::OtherSlot);
        assert_eq!(back(&Prospect { overwritten: true, ..on }), Back::Stranded);
        assert_eq!(back(&Prospect { overwritten: true, image: true, ..on }), Back::FullImage);
        assert_eq!(back(&Prospect { runs_it: false, image: true, ..on }), Back::FullImage);
    }

    #[test]
    fn a_pace_is_of_what_was_measured() {
        assert_eq!(Pace::of([]), None);
        assert_eq!(Pace::of([(0, DAY), (9, Duration::ZERO)]).map(|pace| pace.takes(3)), Some(DAY / 3));
        assert_eq!(
            Pace::of([(10, Duration::from_secs(1)), (20, Duration::from_secs(2))]).map(|pace| pace.takes(100)),
            Some(Duration::from_secs(10))
        );
    }

    #[test]
    fn scenarios() {
        let read = |text: &str| serde_json::from_str::<Scenario>(text).map_err(|error| error.to_string());
        let check = |text: &str| read(text).and_then(|it| it.check().map_err(|bad| bad.to_string()));
        let device = r#"{"kind":"device","device":"gw-1"}"#;
        let cert = r#"{"kind":"certificate","serial":"41a3"}"#;
        for (text, expect) in [
            (format!(r#"{{"scenario":"key_compromise","target":{device}}}"#), ""),
            (format!(r#"{{"scenario":"key_compromise","target":{device},"replace_within_s":60}}"#), ""),
            (format!(r#"{{"scenario":"key_compromise","target":{cert},"replace_within_s":60}}"#), "replacement"),
            (r#"{"scenario":"key_compromise","target":{"kind":"tenant"}}"#.to_owned(), "revocation_cascade"),
            (r#"{"scenario":"revocation_cascade","target":{"kind":"tenant"}}"#.to_owned(), ""),
            (r#"{"scenario":"revocation_cascade","target":{"kind":"group","selector":{}}}"#.to_owned(), "say tenant"),
            (r#"{"scenario":"mass_rollback"}"#.to_owned(), ""),
            (r#"{"scenario":"mass_rollback","rollout":[]}"#.to_owned(), "unknown field"),
            (r#"{"scenario":"fire"}"#.to_owned(), "unknown variant"),
        ] {
            let found = check(&text).err().unwrap_or_default();
            assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{text}: {found}");
        }
    }

    #[test]
    fn the_largest_groups_come_first() {
        let mut groups = Groups::default();
        for (by, name) in [("site", "b"), ("site", "a"), ("site", "a"), ("class", "sensor"), ("site", "c")] {
            groups.add(by, name);
        }
        let shown = groups.largest(2);
        let shown: Vec<_> = shown.iter().map(|(by, name, count)| (*by, name.as_str(), *count)).collect();
        assert_eq!(shown, [("class", "sensor", 1), ("site", "a", 2), ("site", "b", 1)]);
    }

    proptest! {
        /// Whoever knows less of a device counts on it less.
        #[test]
        fn nothing_known_is_nothing_promised(days in -400_i64..400, seen in proptest::option::of(-400_i64..1),
            online: bool, manner in 0..3)
        {
            let manner = match manner {
                0 => Manner::Certificates,
                1 => Manner::Devices,
                _ => Manner::Replace(terms().now.plus(DAY)),
            };
            let met = Met { lost_until: self::days(days), last_seen: seen.and_then(self::days), online, ..Met::default() };
            let bare = fate(&terms(), manner, &met);
            prop_assert!(matches!(bare, Fate::Stranded(_) | Fate::Renews));
            let more = fate(&terms(), manner, &Met { own_way: Some(Way::Factory), ..met });
            prop_assert!(!matches!(more, Fate::Stranded(_)));
            prop_assert_eq!(fate(&terms(), manner, &Met { other: true, ..met }), Fate::GoesOn);
        }
    }
}
