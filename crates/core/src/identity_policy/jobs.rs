//! How long what became of jobs is kept, and whether it is told as events.

use std::time::Duration;

use fleetward_base::limits;
use serde::{Deserialize, Serialize};

use super::{DAY, Invalid, within};

/// The section `jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsPolicy {
    /// What becomes of jobs and executions is published on `$aws/events/job/...` and `$aws/events/jobExecution/...`, for clients
    /// that a topic policy lets hear it.
    pub events: bool,
    /// So many jobs that are over are kept with their executions, the newest..
    pub kept: u32,
    /// ..and no longer than this. What an open job's device did last is never forgotten.
    pub retention_days: u32,
}

impl Default for JobsPolicy {
    fn default() -> Self {
        Self { events: false, kept: limits::JOBS_KEPT, retention_days: limits::JOB_RETENTION_DAYS }
    }
}

impl JobsPolicy {
    pub fn retention(&self) -> Duration {
        DAY.saturating_mul(self.retention_days)
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("jobs.kept", &self.kept, &(1..=limits::JOBS_KEPT_MAX))?;
        within("jobs.retention_days", &self.retention_days, &(1..=limits::JOB_RETENTION_DAYS_MAX))
    }
}
