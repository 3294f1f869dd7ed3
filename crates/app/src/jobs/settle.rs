//! Writing executions down: what changed, whether another try follows, and what the journal says.

use fleetward_base::{DeviceId, Timestamp};
use fleetward_core::job::queue::{Change, Place};
use fleetward_core::job::{Execution, Job, State, Status, execution};
use fleetward_core::journal::{Action, Entry, Severity};
use fleetward_store::{JobExecutionKey, TenantTx};
use serde_json::json;

use super::rows;
use crate::error::Result;
use crate::journal;

/// An execution as it was, and as it is to be.
pub(crate) type Step = (Execution, Execution);

/// Writes the steps that nobody was faster with, each with its journal row after `entry`, and queues the next try where the
/// job goes on and allows one. What their devices are to be told of.
pub(crate) async fn settle(
    tx: &mut TenantTx,
    job: &Job,
    steps: Vec<Step>,
    now: Timestamp,
    entry: impl Fn(Action) -> Entry,
) -> Result<Vec<(DeviceId, Change)>> {
    let goes_on = job.state == State::InProgress && !job.rollout_over;
    let mut planned = Vec::with_capacity(steps.len());
    let mut updates = Vec::with_capacity(steps.len());
    for (before, after) in steps {
        let next = goes_on.then(|| execution::retry(&job.policy, &after, now)).flatten();
        updates.push(rows::execution_row(&after, next.is_none())?);
        planned.push((before, after, next));
    }
    let written = tx.update_job_executions(&updates).await?;
    planned.retain(|(_, after, _)| written.contains(&key(after)));

    let (mut entries, mut tries, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    for (before, after, next) in &planned {
        entries.push(journal::row_of(&told(entry(action(before, after)), after)));
        let mut change = Change { before: place(before), after: place(after), unknown: false };
        if let Some(next) = next {
            tries.push(rows::execution_row(next, true)?);
            entries.push(journal::row_of(&told(entry(Action::JobExecutionQueued), next)));
            change.after.extend(place(next));
        }
        changes.push((after.device.clone(), change));
    }
    tx.insert_job_executions(&tries).await?;
    tx.journal_all(&entries).await?;
    Ok(changes)
}

fn key(execution: &Execution) -> JobExecutionKey {
    JobExecutionKey { job: execution.job.clone(), device: execution.device.clone(), number: execution.number }
}

/// Where it stands in the queue of its device.
pub(crate) fn place(execution: &Execution) -> Vec<Place> {
    let id = execution.job.as_str();
    Place::of(execution.status, execution.queued_at, id, execution.number).into_iter().collect()
}

/// What the journal says of an execution.
pub(crate) fn told(entry: Entry, execution: &Execution) -> Entry {
    let severity = match execution.status {
        Status::Failed | Status::TimedOut | Status::Rejected => Severity::Warning,
        _ => Severity::Info,
    };
    let detail = json!({
        "number": execution.number,
        "version": execution.version,
        "device_says": execution.detail,
    });
    entry.device(&execution.device).subject(&execution.job).severity(severity).detail(detail)
}

fn action(before: &Execution, after: &Execution) -> Action {
    match after.status {
        Status::Queued => Action::JobExecutionQueued,
        Status::InProgress if before.status == Status::Queued => Action::JobExecutionStarted,
        Status::InProgress => Action::JobExecutionProgressed,
        Status::Succeeded => Action::JobExecutionSucceeded,
        Status::Failed => Action::JobExecutionFailed,
        Status::TimedOut => Action::JobExecutionTimedOut,
        Status::Rejected => Action::JobExecutionRejected,
        Status::Removed => Action::JobExecutionRemoved,
        Status::Canceled => Action::JobExecutionCanceled,
    }
}

/// Takes from a device that is at its end what it still had to do: nobody will ever report on it.
pub(crate) async fn remove_executions_of(tx: &mut TenantTx, device: &DeviceId, now: Timestamp) -> Result<()> {
    let live = tx.live_executions_of(device, fleetward_base::limits::JOB_EXECUTIONS_PER_TRANSACTION).await?;
    let (mut rows, mut entries) = (Vec::new(), Vec::new());
    for row in live {
        let before = rows::execution_of(row)?;
        let Some(after) = execution::end(&before, Status::Removed, now) else { continue };
        rows.push(rows::execution_row(&after, true)?);
        let entry = Entry::done(now, by_jobs(), Action::JobExecutionRemoved);
        entries.push(journal::row_of(&told(entry, &after)));
    }
    tx.update_job_executions(&rows).await?;
    Ok(tx.journal_all(&entries).await.map(drop)?)
}

/// The reconciler, as the journal names it.
pub(crate) fn by_jobs() -> fleetward_core::journal::Actor {
    fleetward_core::journal::Actor::system("jobs")
}
