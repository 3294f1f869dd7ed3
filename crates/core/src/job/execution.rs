//! One device's work on a job, and what reports, time and operators do to it.
//!
//! The version is checked first, then the transition, as with [`crate::deployment`]. A report that is sent twice under the
//! version that it expects, or again after the end, changes nothing the second time. Two clocks run while it is in progress:
//! the job's, which is fixed when it begins, and the device's own for its step, which each report may set anew and which
//! never outlasts the first.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetward_base::{DeviceId, JobId, Timestamp, limits};

use super::policy::Policy;
use crate::deployment::check_detail;
use crate::text::text_enum;

text_enum! {
    /// Where an execution stands.
    pub enum Status("execution status") {
        Queued => "queued",
        InProgress => "in_progress",
        Succeeded => "succeeded",
        /// The device tried.
        Failed => "failed",
        TimedOut => "timed_out",
        /// The device would not try.
        Rejected => "rejected",
        /// The device is no target any more.
        Removed => "removed",
        Canceled => "canceled",
    }
}

impl Status {
    /// Nothing can follow.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// One try of one device at one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    pub job: JobId,
    pub device: DeviceId,
    /// Begins at 1; a retry has the next.
    pub number: u64,
    pub status: Status,
    /// What the device said of it.
    pub detail: BTreeMap<String, String>,
    /// Begins at 1 and grows by one with every change.
    pub version: u64,
    /// Tries of this device before it that ended so.
    pub failed_before: u32,
    pub timed_out_before: u32,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// When it is over by the job's limit, and by the device's own.
    pub timeout_at: Option<Timestamp>,
    pub step_timeout_at: Option<Timestamp>,
}

/// What a device says of how long its step may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepTimeout {
    /// No longer limited by itself.
    Clear,
    Within(Duration),
}

impl StepTimeout {
    /// As AWS spells it: 1 to 10080 minutes, or -1 for none.
    ///
    /// # Errors
    /// [`Refused::BadStepTimeout`].
    pub fn of_minutes(minutes: i64) -> Result<Self, Refused> {
        match u64::try_from(minutes) {
            Ok(minutes @ 1..=10_080) => Ok(Self::Within(Duration::from_secs(minutes * 60))),
            Err(_) if minutes == -1 => Ok(Self::Clear),
            _ => Err(Refused::BadStepTimeout),
        }
    }
}

/// What a device says of its execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// One of the four that a device may set.
    pub status: Status,
    /// Replaces what was said before; `None` leaves it.
    pub detail: Option<BTreeMap<String, String>>,
    pub expected_version: Option<u64>,
    pub step_timeout: Option<StepTimeout>,
}

/// Why a report does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("expected version {expected}, found {found}")]
    VersionMismatch { expected: u64, found: u64 },
    #[error("an execution that is {from} cannot become {to}")]
    InvalidTransition { from: Status, to: Status },
    #[error(
        "more than {} details, or one longer than {} bytes, or a key that is not a name",
        limits::DEPLOYMENT_DETAILS,
        limits::DEPLOYMENT_DETAIL_BYTES
    )]
    BadDetail,
    #[error("a step may take 1 to 10080 minutes, or -1 for no limit")]
    BadStepTimeout,
}

/// What a report did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    Changed(Execution),
    /// The same report came before; its answer is given again and nothing is written.
    Repeated,
}

impl Execution {
    /// The first of a device, or the next after it lost the last one.
    pub fn queued(job: &JobId, device: DeviceId, number: u64, now: Timestamp) -> Self {
        Self {
            job: job.clone(),
            device,
            number,
            status: Status::Queued,
            detail: BTreeMap::new(),
            version: 1,
            failed_before: 0,
            timed_out_before: 0,
            queued_at: now,
            started_at: None,
            updated_at: now,
            finished_at: None,
            timeout_at: None,
            step_timeout_at: None,
        }
    }

    /// When time ends it.
    pub fn due_at(&self) -> Option<Timestamp> {
        match (self.timeout_at, self.step_timeout_at) {
            (Some(job), Some(step)) => Some(job.min(step)),
            (job, step) => job.or(step),
        }
    }

    fn finish(&mut self, status: Status, now: Timestamp) {
        self.status = status;
        self.version = self.version.saturating_add(1);
        self.updated_at = now;
        self.finished_at = Some(now);
        (self.timeout_at, self.step_timeout_at) = (None, None);
    }
}

/// What `report` makes of `execution`, of a job that allows `timeout` in progress.
///
/// # Errors
/// [`Refused`]; the execution is as it was.
pub fn apply(
    execution: &Execution,
    report: &Report,
    timeout: Option<Duration>,
    now: Timestamp,
) -> Result<Applied, Refused> {
    if let Some(detail) = &report.detail {
        check_detail(detail).map_err(|_| Refused::BadDetail)?;
    }
    let refused = Refused::InvalidTransition { from: execution.status, to: report.status };
    if !matches!(report.status, Status::InProgress | Status::Succeeded | Status::Failed | Status::Rejected) {
        return Err(refused);
    }
    let same = execution.status == report.status && report.detail.as_ref().is_none_or(|d| *d == execution.detail);
    match report.expected_version {
        Some(expected) if expected == execution.version => {}
        Some(expected) if same && expected.checked_add(1) == Some(execution.version) => return Ok(Applied::Repeated),
        Some(expected) => return Err(Refused::VersionMismatch { expected, found: execution.version }),
        None if same && execution.status.is_terminal() => return Ok(Applied::Repeated),
        None => {}
    }
    if execution.status.is_terminal() {
        return Err(refused);
    }
    let mut next = execution.clone();
    if let Some(detail) = &report.detail {
        next.detail = detail.clone();
    }
    next.started_at = next.started_at.or(Some(now));
    if report.status.is_terminal() {
        next.finish(report.status, now);
        return Ok(Applied::Changed(next));
    }
    if execution.status == Status::Queued {
        next.timeout_at = timeout.map(|timeout| now.plus(timeout));
    }
    match report.step_timeout {
        Some(StepTimeout::Clear) => next.step_timeout_at = None,
        Some(StepTimeout::Within(span)) => next.step_timeout_at = Some(now.plus(span)),
        None => {}
    }
    next.status = report.status;
    next.version = next.version.saturating_add(1);
    next.updated_at = now;
    Ok(Applied::Changed(next))
}

/// Whether this can be said of an execution.
pub fn is_detail(detail: &BTreeMap<String, String>) -> bool {
    check_detail(detail).is_ok()
}

/// The execution ended by the server: canceled, removed or timed out. `None` where it is already at an end.
pub fn end(execution: &Execution, status: Status, now: Timestamp) -> Option<Execution> {
    let by_server = matches!(status, Status::Canceled | Status::Removed | Status::TimedOut);
    if execution.status.is_terminal() || !by_server {
        return None;
    }
    let mut ended = execution.clone();
    ended.finish(status, now);
    Some(ended)
}

/// The next try after one that ended, where the job allows one.
pub fn retry(policy: &Policy, ended: &Execution, now: Timestamp) -> Option<Execution> {
    let before = match ended.status {
        Status::Failed => ended.failed_before,
        Status::TimedOut => ended.timed_out_before,
        _ => return None,
    };
    if before >= policy.retries(ended.status) {
        return None;
    }
    let mut next = Execution::queued(&ended.job, ended.device.clone(), ended.number.saturating_add(1), now);
    next.failed_before = ended.failed_before.saturating_add(u32::from(ended.status == Status::Failed));
    next.timed_out_before = ended.timed_out_before.saturating_add(u32::from(ended.status == Status::TimedOut));
    Some(next)
}
