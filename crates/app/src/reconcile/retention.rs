//! What became of jobs and commands is forgotten in time, as the tenant's policy says.
//!
//! Jobs that are over go with all that their devices did, the oldest first, each with its row in the journal; what the journal
//! says of them stays. Of a job that goes on, a device's last try stays, since it says that the device had its turn; the tries
//! before it go by age. A page is a transaction, and a turn has a bounded number of them.

use fleetward_base::{JobId, TenantId, Timestamp, limits};
use fleetward_core::job::delete;
use fleetward_core::journal::{Action, Entry};
use fleetward_store::TenantTx;
use serde_json::json;

use super::for_each_tenant;
use super::jobs::gone;
use crate::error::Result;
use crate::identity_policy::identity_policy;
use crate::jobs::settle::by_jobs;
use crate::jobs::{control, rows};
use crate::journal::record;
use crate::{App, labels};

/// Jobs that one transaction looks at: most have few executions.
const JOBS: u32 = 50;

/// One turn; how many rows went.
///
/// # Errors
/// Where the store does not say which tenants there are.
pub async fn tick(app: &App) -> Result<u64> {
    for_each_tenant(app, "retention", |app, tenant| async move { forget(&app, &tenant).await }).await
}

async fn forget(app: &App, tenant: &TenantId) -> Result<u64> {
    let policy = identity_policy(app, tenant).await?;
    let now = app.now();
    let (jobs, kept) = (now.minus(policy.jobs.retention()), policy.jobs.kept);
    let commands = now.minus(policy.commands.retention());
    let mut gone = 0_u64;
    for _ in 0..limits::RETENTION_PAGES_PER_TICK {
        let (page, more) = app
            .write(tenant, "forget what is over", move |tx| {
                Box::pin(async move {
                    let (over, more) = forget_jobs(tx, jobs, kept, now).await?;
                    let tries = tx.forget_tries(jobs, limits::RETENTION_PAGE).await?;
                    let commands = tx.forget_commands(commands, limits::RETENTION_PAGE).await?;
                    let whole = u64::from(limits::RETENTION_PAGE);
                    Ok((over + tries + commands, more || tries >= whole || commands >= whole))
                })
            })
            .await?;
        gone = gone.saturating_add(page);
        if !more {
            break;
        }
    }
    if gone > 0 {
        app.wake_jobs();
    }
    Ok(gone)
}

/// Takes a page of jobs away; how many rows that were, and whether there may be more.
async fn forget_jobs(tx: &mut TenantTx, before: Timestamp, kept: u32, now: Timestamp) -> Result<(u64, bool)> {
    let stale = tx.stale_jobs(before, kept, JOBS).await?;
    let more = u32::try_from(stale.len()).is_ok_and(|found| found >= JOBS);
    let mut gone = 0_u64;
    for key in stale {
        let left = u64::from(limits::RETENTION_PAGE).saturating_sub(gone);
        if left == 0 {
            return Ok((gone, true));
        }
        gone = gone.saturating_add(forget_job(tx, &key.id, u32::try_from(left).unwrap_or(u32::MAX), now).await?);
    }
    Ok((gone, more))
}

/// A job with few executions is gone at once; one with many is handed to the turn of jobs, which takes them away page by page.
async fn forget_job(tx: &mut TenantTx, id: &JobId, most: u32, now: Timestamp) -> Result<u64> {
    let Some(row) = tx.job_for_update(id).await? else { return Ok(0) };
    let before = rows::job_of(row)?;
    let executions = tx.delete_job_executions(id, most).await?.len();
    if u32::try_from(executions).is_ok_and(|count| count < most) {
        tx.delete_job(id).await?;
        tx.remove_labels(labels::Kind::Job.as_str(), id.as_str()).await?;
        record(tx, &gone(&before, now)).await?;
    } else if let Ok(Some(after)) = delete(&before, true, now) {
        control::write(tx, &after, before.revision).await?;
        let entry = Entry::done(now, by_jobs(), Action::JobDeleted).subject(id);
        record(tx, &entry.detail(json!({ "because": "retention" }))).await?;
    }
    Ok(u64::try_from(executions).unwrap_or(u64::MAX).saturating_add(1))
}
