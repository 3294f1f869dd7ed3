//! One device in one rollout, and what its reports do to it.
//!
//! The one model behind AWS job executions, hawkBit actions and Mender deployments. Every report goes through [`apply`],
//! whatever protocol it came by, so that the same report has the same outcome everywhere. A report that is sent twice
//! (QoS 1, a lost answer) changes nothing the second time.

use std::collections::BTreeMap;
use std::fmt;

use fleetward_base::{DeviceId, RolloutId, Timestamp, limits};

use crate::text::text_enum;

text_enum! {
    /// Where a deployment stands.
    pub enum Status("deployment status") {
        Queued => "queued",
        InProgress => "in_progress",
        Succeeded => "succeeded",
        /// The device tried and fell back.
        Failed => "failed",
        /// The device would not try.
        Rejected => "rejected",
        TimedOut => "timed_out",
        Canceled => "canceled",
    }
}

impl Status {
    /// Nothing can follow.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }

    /// Counts against the rollout.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Rejected | Self::TimedOut)
    }
}

text_enum! {
    /// What the device is asked to do.
    pub enum Kind("kind of deployment") {
        Update => "update",
        /// Back to what it ran before the update of the same rollout.
        Rollback => "rollback",
    }
}

/// What its device knows a deployment by: the rollout, and whether it is its way back. For AWS it is the id of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentId {
    pub rollout: RolloutId,
    pub kind: Kind,
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Update => write!(f, "{}", self.rollout),
            Kind::Rollback => write!(f, "{}-rollback", self.rollout),
        }
    }
}

impl std::str::FromStr for DeploymentId {
    type Err = fleetward_base::BadId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rollout, kind) = match text.strip_suffix("-rollback") {
            Some(rollout) => (rollout, Kind::Rollback),
            None => (text, Kind::Update),
        };
        let id = Self { rollout: rollout.parse()?, kind };
        // A UUID has other spellings; an id has one, or two topics would name one deployment.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(fleetward_base::BadId {
                kind: "deployment id",
                rule: "a hyphenated lower-case UUID, with or without -rollback",
            })
        }
    }
}

/// One device in one rollout, one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    pub rollout: RolloutId,
    pub device: DeviceId,
    pub kind: Kind,
    /// The phase that it was assigned in.
    pub phase: u32,
    pub status: Status,
    /// What the device last said it was doing, in its own word ("downloading").
    pub step: Option<String>,
    /// The device's hardware revision when it was assigned: its cohort.
    pub hardware: String,
    /// What it ran when it was assigned.
    pub from_version: Option<String>,
    /// What the device said of it: the AWS status details. Stored as a JSON object.
    pub detail: BTreeMap<String, String>,
    /// Begins at 1 and grows by one with every change.
    pub version: u64,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

impl Deployment {
    pub fn id(&self) -> DeploymentId {
        DeploymentId { rollout: self.rollout, kind: self.kind }
    }
}

/// What a device says of its deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One of the four that a device may set.
    pub status: Status,
    /// Replaces what was said before; `None` leaves it.
    pub detail: Option<BTreeMap<String, String>>,
    /// The version that the device believes to change; `None` means whichever it is.
    pub expected_version: Option<u64>,
}

/// Why a report does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("expected version {expected}, found {found}")]
    VersionMismatch { expected: u64, found: u64 },
    #[error("a deployment that is {from} cannot become {to}")]
    InvalidTransition { from: Status, to: Status },
    #[error(
        "more than {} details, or one longer than {} bytes, or a key that is not a name",
        limits::DEPLOYMENT_DETAILS,
        limits::DEPLOYMENT_DETAIL_BYTES
    )]
    BadDetail,
}

/// What a report did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    Changed(Deployment),
    /// The same report came before; its answer is given again and nothing is written.
    Repeated,
}

/// What `report` makes of `deployment`. The version is checked first, then the transition.
pub fn apply(deployment: &Deployment, report: &Report, now: Timestamp) -> Result<Applied, Refused> {
    if let Some(detail) = &report.detail {
        check_detail(detail)?;
    }
    let refused = Refused::InvalidTransition { from: deployment.status, to: report.status };
    let may_set = matches!(report.status, Status::InProgress | Status::Succeeded | Status::Failed | Status::Rejected);
    if !may_set {
        return Err(refused);
    }
    let same = deployment.status == report.status && report.detail.as_ref().is_none_or(|d| *d == deployment.detail);
    match report.expected_version {
        Some(expected) if expected == deployment.version => {}
        Some(expected) if same && expected.checked_add(1) == Some(deployment.version) => return Ok(Applied::Repeated),
        Some(expected) => return Err(Refused::VersionMismatch { expected, found: deployment.version }),
        None if same => return Ok(Applied::Repeated),
        None => {}
    }
    if deployment.status.is_terminal() {
        return Err(refused);
    }
    let mut next = deployment.clone();
    next.status = report.status;
    if let Some(detail) = &report.detail {
        next.step = detail.get("step").cloned();
        next.detail = detail.clone();
    }
    next.version = next.version.saturating_add(1);
    next.started_at = next.started_at.or(Some(now));
    next.updated_at = now;
    next.finished_at = next.status.is_terminal().then_some(now);
    Ok(Applied::Changed(next))
}

/// The deployment ended by the server: canceled or timed out. `None` where it is already at an end.
pub fn end(deployment: &Deployment, status: Status, now: Timestamp) -> Option<Deployment> {
    (!deployment.status.is_terminal() && matches!(status, Status::Canceled | Status::TimedOut)).then(|| Deployment {
        status,
        version: deployment.version.saturating_add(1),
        updated_at: now,
        finished_at: Some(now),
        ..deployment.clone()
    })
}

pub(crate) fn check_detail(detail: &BTreeMap<String, String>) -> Result<(), Refused> {
    let name = |key: &str| {
        (1..=limits::DEPLOYMENT_DETAIL_KEY_BYTES).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-'))
    };
    let fits = |value: &str| value.len() <= limits::DEPLOYMENT_DETAIL_BYTES;
    let good = detail.len() <= limits::DEPLOYMENT_DETAILS && detail.iter().all(|(k, v)| name(k) && fits(v));
    if good { Ok(()) } else { Err(Refused::BadDetail) }
}

#[cfg(test)]
mod tests;
