//! Jobs and what each device does at one.

use std::collections::BTreeMap;

use fleetward_app::jobs::JobView as Found;
use fleetward_core::job::{Execution, Job, Standing};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Time;

/// A document that devices are to work on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobView {
    pub id: String,
    pub description: Option<String>,
    /// A device is meant that one of them means.
    #[schema(value_type = Vec<Object>)]
    pub targets: Value,
    /// snapshot or continuous.
    pub selection: &'static str,
    /// Rate, abort and retry criteria, time limit and schedule.
    #[schema(value_type = Object)]
    pub policy: Value,
    /// scheduled, in_progress, canceled, completed or deletion_in_progress.
    pub status: &'static str,
    /// Why it was ended, in a word: aborted, schedule_ended, or what somebody said.
    pub reason_code: Option<String>,
    pub comment: Option<String>,
    /// Ended with what was in progress.
    pub force: bool,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub started_at: Option<Time>,
    pub completed_at: Option<Time>,
    pub revision: u64,
}

/// A job with how its devices stand.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobProgress)]
pub struct JobProgressView {
    #[serde(flatten)]
    pub job: JobView,
    /// Devices by their last execution.
    pub counts: JobCountsView,
    /// How many executions a minute it hands out at most now; absent where nothing limits it.
    pub rate_per_minute: Option<u32>,
}

/// Devices of a job by their last execution.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = JobCounts)]
pub struct JobCountsView {
    pub queued: u64,
    pub in_progress: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub rejected: u64,
    /// No target any more.
    pub removed: u64,
    pub canceled: u64,
}

/// One try of one device at a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobExecution)]
pub struct JobExecutionView {
    pub job: String,
    pub device: String,
    /// Begins at 1; a retry has the next.
    pub number: u64,
    /// queued, in_progress, succeeded, failed, timed_out, rejected, removed or canceled.
    pub status: &'static str,
    /// What the device said of it.
    pub detail: BTreeMap<String, String>,
    pub version: u64,
    pub queued_at: Time,
    pub started_at: Option<Time>,
    pub updated_at: Time,
    pub finished_at: Option<Time>,
    /// When time ends it.
    pub due_at: Option<Time>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            targets: json!(job.targets),
            selection: job.selection.as_str(),
            policy: json!(job.policy),
            status: job.state.as_str(),
            id: job.id.to_string(),
            description: job.description,
            reason_code: job.reason_code,
            comment: job.comment,
            force: job.force,
            created_by: job.created_by,
            created_at: Time(job.created_at),
            updated_at: Time(job.updated_at),
            started_at: job.started_at.map(Time),
            completed_at: job.completed_at.map(Time),
            revision: job.revision,
        }
    }
}

impl From<Found> for JobProgressView {
    fn from(found: Found) -> Self {
        let Found { job, standing, rate_per_minute } = found;
        Self { job: job.into(), counts: standing.into(), rate_per_minute }
    }
}

impl From<Standing> for JobCountsView {
    fn from(standing: Standing) -> Self {
        let Standing { queued, in_progress, succeeded, failed, timed_out, rejected, removed, canceled } = standing;
        Self { queued, in_progress, succeeded, failed, timed_out, rejected, removed, canceled }
    }
}

impl From<Execution> for JobExecutionView {
    fn from(execution: Execution) -> Self {
        Self {
            due_at: execution.due_at().map(Time),
            job: execution.job.to_string(),
            device: execution.device.to_string(),
            number: execution.number,
            status: execution.status.as_str(),
            detail: execution.detail,
            version: execution.version,
            queued_at: Time(execution.queued_at),
            started_at: execution.started_at.map(Time),
            updated_at: Time(execution.updated_at),
            finished_at: execution.finished_at.map(Time),
        }
    }
}
