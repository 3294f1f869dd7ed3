//! Attestation: what proven evidence is worth, and what a device may do until and after it was given.
//!
//! Three steps, each a pure function. [`appraise`] holds proven facts against reference values and gives a [`Verdict`] with
//! its [`Reason`]s. [`standing`] says, from the last verdict, what a device may do now. [`learn`] lets a cohort's first
//! devices say what is good. Whether evidence proves anything is decided before, by its signatures; what proves nothing
//! is refused there and changes no verdict.
//!
//! A measurement is a name and a digest; references are the digests that are good for a name. A name that the references
//! do not speak of is not looked at, so that a policy on `event/4` survives a kernel update that changes `pcr/4`.

pub mod endorsement;
pub mod issuance;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetward_base::{Timestamp, limits};

use crate::identity_policy::{AttestationPolicy, ClassRule, OnFailure};
use crate::registry::Class;
use crate::text::text_enum;

text_enum! {
    /// What a device's identity stands on (requirement I15).
    pub enum RootOfTrust("root of trust") {
        /// Nothing but a file.
        None => "none",
        Software => "software",
        /// A trusted execution environment.
        Tee => "tee",
        Tpm2 => "tpm2",
        SecureElement => "secure-element",
    }
}

text_enum! {
    /// What evidence is worth (RFC 9334's attestation result, in the words of EAR).
    pub enum Verdict("verdict") {
        Affirming => "affirming",
        /// Nothing speaks against it, and not everything for it.
        Warning => "warning",
        Contraindicated => "contraindicated",
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A measurement that no reference knows.
    Unknown(String),
    /// A measurement that the references speak of and the evidence lacks.
    Absent(String),
    /// The hardware is that of another device too.
    HardwareElsewhere,
    /// The hardware stands on the deny list.
    HardwareDenied,
    /// The clock or the count of starts went back.
    WentBack,
    RootOfTrust,
    KeyNotCertified,
    NoEventLog,
    Debug,
    NotSecured,
    /// There are no references for what it runs.
    NoReference,
    /// It taught its cohort.
    Learned,
}

impl Reason {
    /// A stable word for metrics and filters.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "unknown-measurement",
            Self::Absent(_) => "absent-measurement",
            Self::HardwareElsewhere => "hardware-elsewhere",
            Self::HardwareDenied => "hardware-denied",
            Self::WentBack => "went-back",
            Self::RootOfTrust => "root-of-trust",
            Self::KeyNotCertified => "key-not-certified",
            Self::NoEventLog => "no-event-log",
            Self::Debug => "debug",
            Self::NotSecured => "not-secured",
            Self::NoReference => "no-reference",
            Self::Learned => "learned",
        }
    }

    const fn verdict(&self) -> Verdict {
        match self {
            Self::Learned => Verdict::Affirming,
            Self::NoReference => Verdict::Warning,
            _ => Verdict::Contraindicated,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(name) | Self::Absent(name) => write!(f, "{}:{name}", self.code()),
            other => f.write_str(other.code()),
        }
    }
}

/// The digests that are good for each name.
pub type References = BTreeMap<String, BTreeSet<String>>;

/// What evidence proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    pub root: RootOfTrust,
    /// Names and digests.
    pub measurements: BTreeSet<(String, String)>,
    pub has_log: bool,
    pub debug: Option<bool>,
    pub secured: Option<bool>,
    pub boots: Option<u32>,
    pub clock_ms: Option<u64>,
    pub certified_key: bool,
    /// Whether another device has the same hardware.
    pub elsewhere: bool,
    /// Whether the tenant refuses this hardware.
    pub denied: bool,
}

/// What the evidence before it said of time. The hardware was the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub boots: Option<u32>,
    pub clock_ms: Option<u64>,
}

/// What the appraisal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appraisal {
    pub verdict: Verdict,
    /// Sorted, none twice, within a bound.
    pub reasons: Vec<Reason>,
}

/// What the evidence is worth. `references` are all that apply to what the device runs; empty where there are none.
/// `teaches` where the device may teach its cohort: what contradicts other references teaches nothing.
pub fn appraise(rule: &ClassRule, proven: &Proven, before: Seen, references: &References, teaches: bool) -> Appraisal {
    let mut reasons = BTreeSet::new();
    let mut add = |holds: bool, reason: Reason| {
        if holds {
            reasons.insert(reason);
        }
    };
    add(proven.elsewhere, Reason::HardwareElsewhere);
    add(proven.denied, Reason::HardwareDenied);
    add(went_back(before, proven), Reason::WentBack);
    add(!rule.root_of_trust.is_empty() && !rule.root_of_trust.contains(&proven.root), Reason::RootOfTrust);
    add(rule.certified_key && !proven.certified_key, Reason::KeyNotCertified);
    add(rule.event_log && !proven.has_log, Reason::NoEventLog);
    add(proven.debug == Some(true), Reason::Debug);
    add(proven.secured == Some(false), Reason::NotSecured);
    add(references.is_empty() && !teaches, Reason::NoReference);
    reasons.extend(compare(&proven.measurements, references));
    if teaches && reasons.is_empty() {
        reasons.insert(Reason::Learned);
    }
    let verdict = reasons.iter().map(Reason::verdict).max().unwrap_or(Verdict::Affirming);
    Appraisal { verdict, reasons: reasons.into_iter().take(limits::ATTESTATION_REASONS).collect() }
}

/// The count of starts never goes back on the same hardware, and the clock does not within one start. At a start that
/// nobody prepared a TPM goes on from the time that it saved last, which may be an hour ago (TPM 2.0 Part 1 §36.3.2).
fn went_back(before: Seen, proven: &Proven) -> bool {
    let clock = matches!((proven.clock_ms, before.clock_ms), (Some(now), Some(seen)) if now < seen);
    match (proven.boots, before.boots) {
        (Some(now), Some(seen)) if now != seen => now < seen,
        _ => clock,
    }
}

fn compare<'a>(
    measurements: &'a BTreeSet<(String, String)>,
    references: &'a References,
) -> impl Iterator<Item = Reason> + 'a {
    let unknown = measurements.iter().filter_map(|(name, digest)| {
        let good = references.get(name)?;
        (!good.contains(digest)).then(|| Reason::Unknown(name.clone()))
    });
    let absent = references
        .keys()
        .filter(|name| !measurements.iter().any(|(measured, _)| measured == *name))
        .map(|name| Reason::Absent(name.clone()));
    unknown.chain(absent)
}

/// References with what one more device measured; `None` where that would be more than a cohort may have. Of a PCR whose
/// events are known the events are learned and not the value, so that an update which adds one known event is not a
/// surprise.
pub fn learn(references: &References, measurements: &BTreeSet<(String, String)>) -> Option<References> {
    let logged = |name: &str| {
        let event = name.strip_prefix("pcr/").map(|pcr| format!("event/{pcr}"));
        event.is_some_and(|event| measurements.iter().any(|(other, _)| *other == event))
    };
    let mut next = references.clone();
    for (name, digest) in measurements.iter().filter(|(name, _)| !logged(name)) {
        next.entry(name.clone()).or_default().insert(digest.clone());
    }
    (next.values().map(BTreeSet::len).sum::<usize>() <= limits::ATTESTATION_REFERENCES).then_some(next)
}

/// Whether the references are sound: names and digests of their form, within the bound.
///
/// # Errors
/// What is wrong, in words.
pub fn check_references(references: &References) -> Result<(), &'static str> {
    let name = |name: &String| (1..=128).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    let digest = |digest: &String| {
        (32..=128).contains(&digest.len()) && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    if references.values().map(BTreeSet::len).sum::<usize>() > limits::ATTESTATION_REFERENCES {
        return Err("too many digests");
    }
    if references.values().any(BTreeSet::is_empty) {
        return Err("a name without a digest");
    }
    if !references.keys().all(name) {
        return Err("names have 1 to 128 visible ASCII characters, such as `pcr/7` or `event/4`");
    }
    if !references.values().flatten().all(digest) {
        Err("digests are lower-case hex of 16 to 64 bytes")
    } else {
        Ok(())
    }
}

/// The last verdict on a device, of those that count since it enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    pub verdict: Verdict,
    pub at: Timestamp,
}

/// What a device may do, as far as attestation has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Full,
    Restricted(Why),
}

text_enum! {
    /// Why a device is held back.
    pub enum Why("reason of a restriction") {
        NeverAttested => "never-attested",
        Warned => "warned",
        Failed => "failed",
        Overdue => "overdue",
    }
}

/// What a device of this class may do now, after `last`.
pub fn standing(policy: &AttestationPolicy, class: Class, last: Option<Last>, now: Timestamp) -> Standing {
    let rule = policy.rule(class);
    if !rule.required {
        return Standing::Full;
    }
    let Some(last) = last else { return Standing::Restricted(Why::NeverAttested) };
    match last.verdict {
        Verdict::Contraindicated if policy.on_failure != OnFailure::Warn => Standing::Restricted(Why::Failed),
        Verdict::Warning if !rule.accept_warning => Standing::Restricted(Why::Warned),
        _ if overdue(policy, last.at, now) => Standing::Restricted(Why::Overdue),
        _ => Standing::Full,
    }
}

/// When the device is to attest again; `None` where once is enough.
pub fn due(policy: &AttestationPolicy, at: Timestamp) -> Option<Timestamp> {
    (policy.every_hours > 0).then(|| at.plus(hours(policy.every_hours)))
}

/// Those that attested before this are overdue; `None` where nobody ever is.
pub fn overdue_before(policy: &AttestationPolicy, now: Timestamp) -> Option<Timestamp> {
    (policy.every_hours > 0).then(|| now.minus(hours(policy.every_hours) + hours(policy.grace_hours)))
}

fn overdue(policy: &AttestationPolicy, at: Timestamp, now: Timestamp) -> bool {
    overdue_before(policy, now).is_some_and(|before| at < before)
}

fn hours(count: u32) -> Duration {
    Duration::from_secs(3600 * u64::from(count))
}

#[cfg(test)]
mod tests;
