//! Looking at jobs and what each device does at one.

use fleetward_base::{DeviceId, JobId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::job::{Execution, Job, Selection, Standing, State, Status, rate_now};
use fleetward_store::TenantTx;

use super::rows;
use crate::error::{Error, Result};
use crate::{App, Ctx};

pub(crate) const NO_JOB: Error = Error::NotFound { what: "job" };
pub(crate) const NO_EXECUTION: Error = Error::NotFound { what: "job execution" };

/// A job as people see it.
#[derive(Clone, Debug)]
pub struct JobView {
    pub job: Job,
    /// Its devices by their last execution.
    pub standing: Standing,
    /// How many executions a minute it hands out at most now.
    pub rate_per_minute: Option<u32>,
}

/// One job.
///
/// # Errors
/// `NotFound`.
pub async fn job(app: &App, ctx: &Ctx, tenant: &TenantId, id: &JobId) -> Result<JobView> {
    ctx.allow(tenant, Permission::JobRead)?;
    let id = id.clone();
    app.read(tenant, "job", move |tx| {
        Box::pin(async move {
            let job = rows::job_of(tx.job(&id).await?.ok_or(NO_JOB)?)?;
            let standing = standing(tx, &id).await?;
            let rate_per_minute = rate_now(&job, &standing);
            Ok(JobView { job, standing, rate_per_minute })
        })
    })
    .await
}

/// The document of a job, as it was given.
///
/// # Errors
/// `NotFound`.
pub async fn job_document(app: &App, ctx: &Ctx, tenant: &TenantId, id: &JobId) -> Result<String> {
    ctx.allow(tenant, Permission::JobRead)?;
    let id = id.clone();
    app.read(tenant, "job document", move |tx| Box::pin(async move { tx.job_document(&id).await?.ok_or(NO_JOB) })).await
}

/// A page of the jobs, by id, after `after`; those in one state or of one kind, or all.
pub async fn jobs(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    (state, selection): (Option<State>, Option<Selection>),
    after: Option<JobId>,
    limit: u32,
) -> Result<Vec<Job>> {
    ctx.allow(tenant, Permission::JobRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "jobs", move |tx| {
        Box::pin(async move {
            let (state, selection) = (state.map(State::as_str), selection.map(Selection::as_str));
            tx.jobs(state, selection, after.as_ref(), limit).await?.into_iter().map(rows::job_of).collect()
        })
    })
    .await
}

/// A page of what the devices of a job do, by device and number, after `after`; in one status, or all.
///
/// # Errors
/// `NotFound`.
pub async fn job_executions(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &JobId,
    status: Option<Status>,
    after: Option<(DeviceId, u64)>,
    limit: u32,
) -> Result<Vec<Execution>> {
    ctx.allow(tenant, Permission::JobRead)?;
    let (id, limit) = (id.clone(), limit.clamp(1, limits::PAGE_ROWS + 1));
    app.read(tenant, "job executions", move |tx| {
        Box::pin(async move {
            if tx.job(&id).await?.is_none() {
                return Err(NO_JOB);
            }
            let after = after.as_ref().map(|(device, number)| (device, *number));
            let rows = tx.job_executions(&id, status.map(Status::as_str), after, limit).await?;
            rows.into_iter().map(rows::execution_of).collect()
        })
    })
    .await
}

/// A page of what a device does and did, by job and number, after `after`; in one status, of one job, or all.
///
/// # Errors
/// `NotFound`: the device.
pub async fn device_job_executions(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    (status, job): (Option<Status>, Option<JobId>),
    after: Option<(JobId, u64)>,
    limit: u32,
) -> Result<Vec<Execution>> {
    ctx.allow(tenant, Permission::JobRead)?;
    let (device, limit) = (device.clone(), limit.clamp(1, limits::PAGE_ROWS + 1));
    app.read(tenant, "device job executions", move |tx| {
        Box::pin(async move {
            if tx.device(&device).await?.is_none() {
                return Err(Error::NotFound { what: "device" });
            }
            let after = after.as_ref().map(|(job, number)| (job, *number));
            let status = status.map(Status::as_str);
            let rows = tx.device_job_executions(&device, status, job.as_ref(), after, limit).await?;
            rows.into_iter().map(rows::execution_of).collect()
        })
    })
    .await
}

/// One execution: of this number, or the last one of the device.
///
/// # Errors
/// `NotFound`.
pub async fn job_execution(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &JobId,
    device: &DeviceId,
    number: Option<u64>,
) -> Result<Execution> {
    ctx.allow(tenant, Permission::JobRead)?;
    let (id, device) = (id.clone(), device.clone());
    app.read(tenant, "job execution", move |tx| {
        Box::pin(async move {
            let row = tx.job_execution(&id, &device, number).await?.ok_or(NO_EXECUTION)?;
            rows::execution_of(row)
        })
    })
    .await
}

/// How the devices of a job stand.
pub(crate) async fn standing(tx: &mut TenantTx, id: &JobId) -> Result<Standing> {
    let mut standing = Standing::default();
    for row in tx.job_standing(id).await? {
        standing.add(row.status.parse().map_err(Error::internal)?, row.count);
    }
    Ok(standing)
}
