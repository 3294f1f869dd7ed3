//! A job: a document that devices are to work on, who they are, and how it reaches them.
//!
//! What a deployment is for releases, an execution is for a document that only the device understands. [`plan`](plan())
//! says which devices get one now, [`execution`] what reports and ends do to one, [`queue`] what a device is shown and told
//! of. Pure, total, and held to:
//!
//! - in no minute does a job hand out more than its rate, late joiners included;
//! - a device has at most one execution of a job that has not ended, and numbers only grow;
//! - past its criteria a job hands out nothing more, and cancels what is queued.

pub mod cron;
pub mod execution;
mod plan;
mod policy;
pub mod queue;

use fleetward_base::{JobId, Timestamp, limits};
use serde::{Deserialize, Serialize};

pub use execution::{Execution, Status};
pub use plan::{Candidates, Ends, Milestone, Plan, Standing, allowance, plan, rate_now};
pub use policy::{Abort, AtEnd, Exponential, Failure, Hundredths, Increase, Policy, Rate, Retry, Schedule, Window};

use crate::registry::Invalid;
use crate::selector::Selector;
use crate::text::text_enum;

text_enum! {
    /// Where a job stands.
    pub enum State("job status") {
        /// Begins at the start of its schedule.
        Scheduled => "scheduled",
        InProgress => "in_progress",
        /// By somebody, by its criteria or by its schedule; what is in progress may still end by itself.
        Canceled => "canceled",
        Completed => "completed",
        /// Goes, with its executions.
        Deleting => "deletion_in_progress",
    }
}

impl State {
    /// Nothing more is handed out.
    pub const fn is_over(self) -> bool {
        !matches!(self, Self::Scheduled | Self::InProgress)
    }
}

text_enum! {
    /// Whether a job is for those who are there, or also for those who come.
    pub enum Selection("target selection") {
        Snapshot => "snapshot",
        /// Devices that come to be meant get an execution too, and those that are meant no longer lose theirs.
        Continuous => "continuous",
    }
}

/// Where handing out goes on: which of the targets, and after which of its devices.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cursor {
    pub target: u32,
    pub device: String,
}

/// What was handed out in the last minute, so that no minute has more than the rate. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pace(Vec<(Timestamp, u32)>);

/// A job, without its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub description: Option<String>,
    /// A device is meant that one of them means.
    pub targets: Vec<Selector>,
    pub selection: Selection,
    pub policy: Policy,
    pub state: State,
    /// Why it ended: a word, and what somebody says of it.
    pub reason_code: Option<String>,
    pub comment: Option<String>,
    /// It was ended with what is in progress.
    pub force: bool,
    /// The end of its schedule has come: nothing more is handed out, executions go on.
    pub rollout_over: bool,
    pub cursor: Cursor,
    pub pace: Pace,
    /// Executions that were handed out, retries aside.
    pub handed: u64,
    /// Whether devices are shown what is queued.
    pub window_open: bool,
    /// When there may be something to do; `None` where only a report or a person changes anything.
    pub look_at: Option<Timestamp>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub revision: u64,
}

/// What a new job is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub id: JobId,
    pub document: String,
    pub description: Option<String>,
    pub targets: Vec<Selector>,
    pub selection: Selection,
    pub policy: Policy,
}

impl Draft {
    /// # Errors
    /// The field that breaks a rule.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.document.chars().count() > limits::JOB_DOCUMENT_CHARS {
            return Err(invalid("document", format!("longer than {} characters", limits::JOB_DOCUMENT_CHARS)));
        }
        if !serde_json::from_str::<serde_json::Value>(&self.document).is_ok_and(|value| value.is_object()) {
            return Err(invalid("document", "not a JSON object"));
        }
        check_text("description", self.description.as_deref())?;
        if self.targets.is_empty() || self.targets.len() > limits::JOB_TARGETS {
            return Err(invalid("targets", format!("must be 1 to {}", limits::JOB_TARGETS)));
        }
        self.policy.check()
    }

    /// The job as it begins.
    pub fn begin(self, created_by: String, now: Timestamp) -> Job {
        Job {
            id: self.id,
            description: self.description,
            targets: self.targets,
            selection: self.selection,
            policy: self.policy,
            state: State::Scheduled,
            reason_code: None,
            comment: None,
            force: false,
            rollout_over: false,
            cursor: Cursor::default(),
            pace: Pace::default(),
            handed: 0,
            window_open: false,
            look_at: Some(now),
            created_by,
            created_at: now,
            updated_at: now,
            started_at: None,
            completed_at: None,
            revision: 1,
        }
    }
}

/// Holds a description or a comment to its limit.
///
/// # Errors
/// The field.
pub fn check_text(field: &'static str, text: Option<&str>) -> Result<(), Invalid> {
    match text {
        Some(text) if text.chars().count() > limits::JOB_DESCRIPTION_CHARS => {
            Err(invalid(field, format!("longer than {} characters", limits::JOB_DESCRIPTION_CHARS)))
        }
        Some(text) if text.chars().any(char::is_control) => Err(invalid(field, "must not hold control characters")),
        _ => Ok(()),
    }
}

/// Ends a job for somebody: what is queued is canceled, with `force` also what is in progress. `None` where that was so
/// before.
pub fn cancel(job: &Job, force: bool, now: Timestamp) -> Result<Option<Job>, Refused> {
    let more = force && !job.force;
    match job.state {
        State::Scheduled | State::InProgress => {}
        State::Canceled if more => {}
        State::Canceled => return Ok(None),
        State::Completed | State::Deleting => return Err(Refused { state: job.state, wanted: "canceled" }),
    }
    let mut after = job.clone();
    after.state = State::Canceled;
    after.force = force;
    after.completed_at = Some(now);
    after.touch(now);
    Ok(Some(after))
}

/// Lets a job go with its executions; one that is under way only with `force`. `None` where it goes already.
pub fn delete(job: &Job, force: bool, now: Timestamp) -> Result<Option<Job>, Refused> {
    match job.state {
        State::Deleting => return Ok(None),
        State::Scheduled | State::InProgress if !force => {
            return Err(Refused { state: job.state, wanted: "deleted without force" });
        }
        _ => {}
    }
    let mut after = job.clone();
    after.state = State::Deleting;
    after.force = true;
    after.touch(now);
    Ok(Some(after))
}

/// It is no longer where that could be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot be {wanted}")]
pub struct Refused {
    pub state: State,
    pub wanted: &'static str,
}

impl Job {
    /// Something was changed: a revision more, and worth a look.
    pub fn touch(&mut self, now: Timestamp) {
        self.updated_at = now;
        self.revision = self.revision.saturating_add(1);
        self.look_at = Some(now);
    }

    /// Whether every target was gone through.
    pub fn is_gone_through(&self) -> bool {
        usize::try_from(self.cursor.target).is_ok_and(|target| target >= self.targets.len())
    }
}

pub(crate) fn invalid(field: &'static str, why: impl Into<String>) -> Invalid {
    Invalid { field, why: why.into() }
}

#[cfg(test)]
mod tests;
