//! What operators ask of a job and of single executions.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, JobId, TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_core::job::queue::Change;
use fleetward_core::job::{
    Abort, Execution, Job, Policy, Rate, Refused, Retry, Selection, Status, cancel, check_text, delete, execution,
};
use fleetward_core::journal::{Action, Severity};
use fleetward_core::selector::Selector;
use fleetward_store::{JobExecutionKey, TenantTx};
use serde_json::json;

use super::create::{check_targets, refused};
use super::queue::tell;
use super::read::{JobView, NO_EXECUTION, NO_JOB, job};
use super::{rows, settle};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// What is to be another way. `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct JobChange {
    pub description: Option<Option<String>>,
    pub rate: Option<Option<Rate>>,
    pub abort: Option<Vec<Abort>>,
    pub retry: Option<Vec<Retry>>,
    pub timeout_minutes: Option<Option<u32>>,
    /// Come to those there are; of a continuous job only.
    pub add_targets: Vec<Selector>,
}

/// Changes a job that has not ended. What is in progress keeps the time that it was given.
///
/// # Errors
/// `NotFound`; `Stale`; `Invalid` with the field; `Conflict` (`job-state`).
pub async fn update_job(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &JobId,
    expected: Option<u64>,
    change: JobChange,
) -> Result<JobView> {
    let now = app.now();
    run(app, ctx, tenant, id, expected, move |tx, ctx, before| {
        Box::pin(async move {
            if before.state.is_over() {
                return Err(state(Refused { state: before.state, wanted: "changed" }));
            }
            check_targets(tx, &change.add_targets).await?;
            let after = changed(&before, change, now)?;
            let entry = ctx.done(now, Action::JobUpdated).subject(&after.id).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "revision": after.revision }))).await?;
            Ok(Some(after))
        })
    })
    .await?;
    job(app, ctx, tenant, id).await
}

fn changed(before: &Job, change: JobChange, now: Timestamp) -> Result<Job> {
    let mut after = before.clone();
    let JobChange { description, rate, abort, retry, timeout_minutes, add_targets } = change;
    if let Some(description) = description {
        check_text("description", description.as_deref()).map_err(refused)?;
        after.description = description;
    }
    after.policy = Policy {
        rate: rate.unwrap_or(after.policy.rate),
        abort: abort.unwrap_or(after.policy.abort),
        retry: retry.unwrap_or(after.policy.retry),
        timeout_minutes: timeout_minutes.unwrap_or(after.policy.timeout_minutes),
        schedule: after.policy.schedule,
    };
    after.policy.check().map_err(refused)?;
    if !add_targets.is_empty() {
        if after.selection != Selection::Continuous {
            return Err(Error::invalid("targets", "only a continuous job takes more"));
        }
        after.targets.extend(add_targets.into_iter().filter(|target| !before.targets.contains(target)));
        if after.targets.len() > fleetward_base::limits::JOB_TARGETS {
            return Err(Error::invalid("targets", format!("at most {}", fleetward_base::limits::JOB_TARGETS)));
        }
    }
    after.touch(now);
    Ok(after)
}

/// Ends a job: what is queued is canceled, with `force` also what is in progress. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Stale`; `Invalid`; `Conflict` (`job-state`).
pub async fn cancel_job(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &JobId,
    expected: Option<u64>,
    (reason_code, comment, force): (Option<String>, Option<String>, bool),
) -> Result<JobView> {
    ctx.allow(tenant, Permission::JobControl)?;
    check_text("comment", comment.as_deref()).map_err(refused)?;
    if let Some(code) = &reason_code {
        let good = (1..=128).contains(&code.len()) && code.chars().all(|c| !c.is_control());
        if !good {
            return Err(Error::invalid("reason_code", "must be 1 to 128 bytes without control characters"));
        }
    }
    let now = app.now();
    run(app, ctx, tenant, id, expected, move |tx, ctx, before| {
        Box::pin(async move {
            let Some(mut after) = cancel(&before, force, now).map_err(state)? else { return Ok(None) };
            after.reason_code = reason_code.or(after.reason_code);
            after.comment = comment.or(after.comment);
            let entry = ctx.done(now, Action::JobCanceled).subject(&after.id).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "force": force, "reason": after.reason_code }))).await?;
            Ok(Some(after))
        })
    })
    .await?;
    job(app, ctx, tenant, id).await
}

/// Lets a job go, with its document and executions; one that is under way only with `force`. It is gone a moment later.
///
/// # Errors
/// `NotFound`; `Stale`; `Conflict` (`job-state`).
pub async fn delete_job(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &JobId,
    expected: Option<u64>,
    force: bool,
) -> Result<()> {
    let now = app.now();
    run(app, ctx, tenant, id, expected, move |tx, ctx, before| {
        Box::pin(async move {
            let Some(after) = delete(&before, force, now).map_err(state)? else { return Ok(None) };
            let entry = ctx.done(now, Action::JobDeleted).subject(&after.id).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "force": force }))).await?;
            Ok(Some(after))
        })
    })
    .await
}

/// What a job becomes; `None` leaves it.
type Decided<'t> = futures::future::BoxFuture<'t, Result<Option<Job>>>;

async fn run<F>(app: &App, ctx: &Ctx, tenant: &TenantId, id: &JobId, expected: Option<u64>, decide: F) -> Result<()>
where
    F: for<'t> FnOnce(&'t mut TenantTx, Ctx, Job) -> Decided<'t> + Send + 'static,
{
    ctx.allow(tenant, Permission::JobControl)?;
    let (ctx_in, id_in) = (ctx.clone(), id.clone());
    app.write(tenant, "control job", move |tx| {
        Box::pin(async move {
            let before = rows::job_of(tx.job_for_update(&id_in).await?.ok_or(NO_JOB)?)?;
            if let Some(expected) = expected
                && expected != before.revision
            {
                return Err(Error::Stale { expected, found: before.revision });
            }
            let revision = before.revision;
            let Some(after) = decide(tx, ctx_in, before).await? else { return Ok(()) };
            write(tx, &after, revision).await
        })
    })
    .await?;
    app.wake_jobs();
    Ok(())
}

/// Writes the job in place of what was read.
pub(crate) async fn write(tx: &mut TenantTx, after: &Job, expected: u64) -> Result<()> {
    if tx.update_job(&rows::job_row(after)?, expected).await? {
        return Ok(());
    }
    Err(Error::conflict("job-changed", "the job was changed meanwhile; try again"))
}

fn state(refused: Refused) -> Error {
    Error::conflict("job-state", refused.to_string())
}

/// How an execution is to be canceled.
#[derive(Clone, Debug, Default)]
pub struct CancelExecution {
    /// Also where it is in progress.
    pub force: bool,
    pub expected_version: Option<u64>,
    /// Put in place of what the device said.
    pub detail: Option<BTreeMap<String, String>>,
}

/// Cancels what one device is to do.
///
/// # Errors
/// `NotFound`; `Stale` by version; `Invalid`; `Conflict` (`execution-state`).
pub async fn cancel_job_execution(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &JobId,
    device: &DeviceId,
    asked: CancelExecution,
) -> Result<Execution> {
    ctx.allow(tenant, Permission::JobControl)?;
    if asked.detail.as_ref().is_some_and(|detail| !execution::is_detail(detail)) {
        return Err(Error::invalid("detail", execution::Refused::BadDetail.to_string()));
    }
    let now = app.now();
    let (ctx_in, id_in, device_in) = (ctx.clone(), id.clone(), device.clone());
    let (app_in, tenant, id) = (app.clone(), tenant.clone(), id.clone());
    app.see_through(async move {
        let canceled = app_in.write(&tenant, "cancel job execution", move |tx| {
            Box::pin(async move {
                let job = rows::job_of(tx.job(&id_in).await?.ok_or(NO_JOB)?)?;
                let row = tx.job_execution_for_update(&id_in, &device_in, None).await?.ok_or(NO_EXECUTION)?;
                let before = rows::execution_of(row)?;
                if let Some(expected) = asked.expected_version
                    && expected != before.version
                {
                    return Err(Error::Stale { expected, found: before.version });
                }
                if before.status == Status::InProgress && !asked.force {
                    return Err(execution_state("is in progress; it is canceled with force only"));
                }
                let ended = execution::end(&before, Status::Canceled, now);
                let mut after = ended.ok_or_else(|| execution_state("is at its end"))?;
                if let Some(detail) = asked.detail {
                    after.detail = detail;
                }
                let steps = vec![(before, after.clone())];
                let changes = settle::settle(tx, &job, steps, now, |action| ctx_in.done(now, action)).await?;
                Ok((after, changes))
            })
        });
        let (after, changes) = canceled.await?;
        app_in.wake_job(&tenant, &id);
        tell(&app_in, &tenant, &changes).await;
        Ok(after)
    })
    .await
}

/// Takes one execution away, of this number or the last; one that is in progress only with `force`.
///
/// # Errors
/// `NotFound`; `Conflict` (`execution-state`).
pub async fn delete_job_execution(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &JobId,
    device: &DeviceId,
    number: Option<u64>,
    force: bool,
) -> Result<()> {
    ctx.allow(tenant, Permission::JobControl)?;
    let now = app.now();
    let (ctx_in, id_in, device_in) = (ctx.clone(), id.clone(), device.clone());
    let (app_in, tenant, id, device) = (app.clone(), tenant.clone(), id.clone(), device.clone());
    app.see_through(async move {
        let deleted = app_in.write(&tenant, "delete job execution", move |tx| {
            Box::pin(async move {
                let row = tx.job_execution_for_update(&id_in, &device_in, number).await?;
                let before = rows::execution_of(row.ok_or(NO_EXECUTION)?)?;
                if before.status == Status::InProgress && !force {
                    return Err(execution_state("is in progress; it is deleted with force only"));
                }
                let key = JobExecutionKey { job: id_in.clone(), device: device_in.clone(), number: before.number };
                tx.delete_job_execution(&key).await?;
                tx.restore_last_job_execution(&id_in, &device_in).await?;
                let entry = ctx_in.done(now, Action::JobExecutionDeleted);
                record(tx, &settle::told(entry, &before)).await?;
                Ok(Change { before: settle::place(&before), ..Change::default() })
            })
        });
        let change = deleted.await?;
        app_in.wake_job(&tenant, &id);
        tell(&app_in, &tenant, &[(device, change)]).await;
        Ok(())
    })
    .await
}

fn execution_state(what: &str) -> Error {
    Error::conflict("execution-state", format!("the execution {what}"))
}
