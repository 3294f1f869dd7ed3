//! Between jobs, executions and their rows.

use std::collections::BTreeMap;

use fleetward_core::job::{Cursor, Execution, Job, Pace};
use fleetward_store::{JobExecutionRow, JobRow};

use crate::error::{Error, Result};

pub(crate) fn job_of(row: JobRow) -> Result<Job> {
    Ok(Job {
        id: row.id,
        description: row.description,
        targets: serde_json::from_str(&row.targets).map_err(Error::internal)?,
        selection: row.selection.parse().map_err(Error::internal)?,
        policy: serde_json::from_str(&row.policy).map_err(Error::internal)?,
        state: row.state.parse().map_err(Error::internal)?,
        reason_code: row.reason_code,
        comment: row.comment,
        force: row.force,
        rollout_over: row.rollout_over,
        cursor: Cursor { target: row.cursor_target, device: row.cursor_device },
        pace: serde_json::from_str::<Pace>(&row.pace).map_err(Error::internal)?,
        handed: row.handed,
        window_open: row.window_open,
        look_at: row.look_at,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        started_at: row.started_at,
        completed_at: row.completed_at,
        revision: row.revision,
    })
}

pub(crate) fn job_row(job: &Job) -> Result<JobRow> {
    Ok(JobRow {
        id: job.id.clone(),
        description: job.description.clone(),
        targets: serde_json::to_string(&job.targets).map_err(Error::internal)?,
        selection: job.selection.to_string(),
        policy: serde_json::to_string(&job.policy).map_err(Error::internal)?,
        windowed: !job.policy.schedule.windows.is_empty(),
        state: job.state.to_string(),
        reason_code: job.reason_code.clone(),
        comment: job.comment.clone(),
        force: job.force,
        rollout_over: job.rollout_over,
        cursor_target: job.cursor.target,
        cursor_device: job.cursor.device.clone(),
        pace: serde_json::to_string(&job.pace).map_err(Error::internal)?,
        handed: job.handed,
        window_open: job.window_open,
        look_at: job.look_at,
        created_by: job.created_by.clone(),
        created_at: job.created_at,
        updated_at: job.updated_at,
        started_at: job.started_at,
        completed_at: job.completed_at,
        revision: job.revision,
    })
}

pub(crate) fn execution_of(row: JobExecutionRow) -> Result<Execution> {
    let detail = match &row.detail {
        Some(text) => serde_json::from_str(text).map_err(Error::internal)?,
        None => BTreeMap::new(),
    };
    Ok(Execution {
        job: row.job,
        device: row.device,
        number: row.number,
        status: row.status.parse().map_err(Error::internal)?,
        detail,
        version: row.version,
        failed_before: row.failed_before,
        timed_out_before: row.timed_out_before,
        queued_at: row.queued_at,
        started_at: row.started_at,
        updated_at: row.updated_at,
        finished_at: row.finished_at,
        timeout_at: row.timeout_at,
        step_timeout_at: row.step_timeout_at,
    })
}

/// `latest`: no other try follows it.
pub(crate) fn execution_row(execution: &Execution, latest: bool) -> Result<JobExecutionRow> {
    let detail = (!execution.detail.is_empty()).then(|| serde_json::to_string(&execution.detail)).transpose();
    Ok(JobExecutionRow {
        job: execution.job.clone(),
        device: execution.device.clone(),
        number: execution.number,
        latest,
        status: execution.status.to_string(),
        detail: detail.map_err(Error::internal)?,
        version: execution.version,
        failed_before: execution.failed_before,
        timed_out_before: execution.timed_out_before,
        queued_at: execution.queued_at,
        started_at: execution.started_at,
        updated_at: execution.updated_at,
        finished_at: execution.finished_at,
        timeout_at: execution.timeout_at,
        step_timeout_at: execution.step_timeout_at,
        due_at: execution.due_at(),
    })
}
