//! Work as its device meets it: what is pending, what comes next, what became of it.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, JobId, TenantId};
use fleetward_core::deployment::{self, Deployment};
use fleetward_core::job::execution::{self, Applied, Refused, Report, StepTimeout};
use fleetward_core::job::queue::Change;
use fleetward_core::job::{Execution, Job, State, Status};
use fleetward_store::TenantTx;

use super::queue::{DEPLOYMENT_NUMBER, Item, Work, item, queues, status, tell};
use super::read::{NO_EXECUTION, NO_JOB};
use super::{rows, settle};
use crate::deployments;
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// Why a report did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A rule said no; the work is as it was.
    #[error("{refused}")]
    Refused { refused: Refused, work: Box<Work> },
    #[error(transparent)]
    App(#[from] Error),
}

impl From<fleetward_store::StoreError> for ReportError {
    fn from(error: fleetward_store::StoreError) -> Self {
        Self::App(error.into())
    }
}

/// All that is pending for the device that asks, in its order.
pub async fn pending(app: &App, ctx: &Ctx) -> Result<Vec<Work>> {
    let (tenant, device) = ctx.device()?;
    let (device, now) = (device.clone(), app.now());
    app.read(tenant, "pending work", move |tx| {
        Box::pin(async move {
            let mut queues = queues(tx, std::slice::from_ref(&device), now).await?;
            Ok(queues.remove(&device).unwrap_or_default())
        })
    })
    .await
}

/// What is first for a device, with its document.
pub async fn next(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<Option<Item>> {
    let (app_in, device, now) = (app.clone(), device.clone(), app.now());
    app.read(tenant, "next work", move |tx| {
        Box::pin(async move {
            match first(tx, &device, now).await? {
                Some(work) => item(&app_in, tx, work).await,
                None => Ok(None),
            }
        })
    })
    .await
}

async fn first(tx: &mut TenantTx, device: &DeviceId, now: fleetward_base::Timestamp) -> Result<Option<Work>> {
    let mut queues = queues(tx, std::slice::from_ref(device), now).await?;
    Ok(queues.remove(device).and_then(|queue| queue.into_iter().next()))
}

/// One piece of work of the device that asks, at its end or not: of this number, or the last.
///
/// # Errors
/// `NotFound`.
pub async fn describe(app: &App, ctx: &Ctx, id: &str, number: Option<u64>) -> Result<Item> {
    let (tenant, device) = ctx.device()?;
    if let Ok(job) = id.parse::<JobId>() {
        let device = device.clone();
        let found = app.read(tenant, "describe job execution", move |tx| {
            Box::pin(async move {
                let Some(row) = tx.job_execution(&job, &device, number).await? else { return Ok(None) };
                let document = tx.job_document(&job).await?.ok_or(NO_JOB)?;
                Ok(Some((rows::execution_of(row)?, document)))
            })
        });
        if let Some((execution, document)) = found.await? {
            let document = serde_json::from_str(&document).map_err(Error::internal)?;
            return Ok(Item { work: execution.into(), document });
        }
    }
    let found = deployments::describe(app, ctx, deployment_id(id, number)?).await?;
    let document = serde_json::to_value(found.document).map_err(Error::internal)?;
    Ok(Item { work: found.deployment.into(), document })
}

/// Which deployment an id means. One that cannot be anybody's is not there.
fn deployment_id(id: &str, number: Option<u64>) -> Result<deployment::DeploymentId> {
    if number.is_some_and(|number| number != DEPLOYMENT_NUMBER) {
        return Err(NO_EXECUTION);
    }
    id.parse().map_err(|_| NO_EXECUTION)
}

/// Hands the device what is first for it, in progress from now on. One that it began already is given again as it is;
/// `None` where nothing is pending.
///
/// # Errors
/// As for [`report`], should `detail` break a rule.
pub async fn start_next(
    app: &App,
    ctx: &Ctx,
    detail: Option<BTreeMap<String, String>>,
    step_timeout: Option<StepTimeout>,
) -> Result<Option<Item>, ReportError> {
    let (tenant, device) = ctx.device()?;
    let Some(next) = next(app, tenant, device).await? else { return Ok(None) };
    if next.work.status != Status::Queued {
        return Ok(Some(next));
    }
    let report = Report { status: Status::InProgress, detail, expected_version: Some(next.work.version), step_timeout };
    match self::report(app, ctx, &next.work.id, Some(next.work.number), report).await {
        Ok(work) => Ok(Some(Item { work, document: next.document })),
        // It was taken away, or begun by the same device, between the look and the start: what is next now is another.
        Err(ReportError::Refused {
            refused: Refused::VersionMismatch { .. } | Refused::InvalidTransition { .. },
            ..
        }) => Ok(self::next(app, tenant, device).await?.filter(|next| next.work.status != Status::Queued)),
        Err(error) => Err(error),
    }
}

/// Takes the report of the device that speaks, of this number or the last. The same report twice is taken twice and written
/// once.
///
/// # Errors
/// [`ReportError::Refused`] with the work as it is; `NotFound`.
pub async fn report(app: &App, ctx: &Ctx, id: &str, number: Option<u64>, report: Report) -> Result<Work, ReportError> {
    let (tenant, device) = ctx.device()?;
    if let Ok(job) = id.parse::<JobId>()
        && let Some(reported) = report_execution(app, ctx, (tenant, device), (&job, number), report.clone()).await?
    {
        return Ok(reported.into());
    }
    report_deployment(app, ctx, deployment_id(id, number)?, device, report).await
}

struct Reported {
    after: Execution,
    changes: Vec<(DeviceId, Change)>,
}

/// Writes what is said of the execution of a device, by itself or in its place, and tells who is to hear of it. `None` where
/// the device has no execution of that job.
pub(super) async fn report_execution(
    app: &App,
    ctx: &Ctx,
    (tenant, device): (&TenantId, &DeviceId),
    (job, number): (&JobId, Option<u64>),
    report: Report,
) -> Result<Option<Execution>, ReportError> {
    let (app_in, ctx_in, tenant, device, job) = (app.clone(), ctx.clone(), tenant.clone(), device.clone(), job.clone());
    app.see_through(async move {
        let reported = write_report(&app_in, &ctx_in, (&tenant, &device), (&job, number), report).await?;
        let Some(Reported { after, changes }) = reported else { return Ok(None) };
        if after.status.is_terminal() && !changes.is_empty() {
            app_in.wake_job(&tenant, &job);
        }
        tell(&app_in, &tenant, &changes).await;
        Ok::<_, ReportError>(Some(after))
    })
    .await
}

async fn write_report(
    app: &App,
    ctx: &Ctx,
    (tenant, device): (&TenantId, &DeviceId),
    (job, number): (&JobId, Option<u64>),
    report: Report,
) -> Result<Option<Reported>, ReportError> {
    let (ctx_in, job, device, now) = (ctx.clone(), job.clone(), device.clone(), app.now());
    app.store()
        .write(tenant, "report job execution", move |tx| {
            Box::pin(async move {
                let row = tx.job_execution_for_update(&job, &device, number).await?;
                let Some(row) = row else { return Ok(None) };
                let before = rows::execution_of(row)?;
                let job = rows::job_of(tx.job(&job).await?.ok_or(NO_JOB)?)?;
                let after = match decide(&job, &before, &report, now) {
                    Ok(Applied::Changed(after)) => after,
                    Ok(Applied::Repeated) => return Ok(Some(Reported { after: before, changes: Vec::new() })),
                    Err(refused) => return Err(ReportError::Refused { refused, work: Box::new(before.into()) }),
                };
                let steps = vec![(before, after.clone())];
                let changes = settle::settle(tx, &job, steps, now, |action| ctx_in.done(now, action)).await?;
                if changes.is_empty() {
                    let reason = "the execution was changed meanwhile; try again";
                    return Err(Error::conflict("execution-changed", reason).into());
                }
                Ok(Some(Reported { after, changes }))
            })
        })
        .await
}

/// What was ended with its job is so, even where nobody came to write it down yet.
fn decide(job: &Job, before: &Execution, report: &Report, now: fleetward_base::Timestamp) -> Result<Applied, Refused> {
    let goes_on = match before.status {
        Status::Queued => job.state == State::InProgress,
        _ => !job.force,
    };
    if !goes_on && !before.status.is_terminal() {
        return Err(Refused::InvalidTransition { from: Status::Canceled, to: report.status });
    }
    execution::apply(before, report, job.policy.timeout(), now)
}

async fn report_deployment(
    app: &App,
    ctx: &Ctx,
    id: deployment::DeploymentId,
    device: &DeviceId,
    report: Report,
) -> Result<Work, ReportError> {
    let wanted = report.status;
    let of = |status| match status {
        Status::InProgress => Some(deployment::Status::InProgress),
        Status::Succeeded => Some(deployment::Status::Succeeded),
        Status::Failed => Some(deployment::Status::Failed),
        Status::Rejected => Some(deployment::Status::Rejected),
        _ => None,
    };
    let Some(to) = of(wanted) else {
        return Err(Error::invalid("status", format!("{device} cannot set {wanted}")).into());
    };
    let report = deployment::Report { status: to, detail: report.detail, expected_version: report.expected_version };
    match deployments::report(app, ctx, id, report).await {
        Ok(reported) => Ok(reported.deployment.into()),
        Err(deployments::ReportError::App(error)) => Err(error.into()),
        Err(deployments::ReportError::Refused { refused, deployment }) => {
            Err(ReportError::Refused { refused: of_deployment(refused), work: Box::new(Deployment::into(*deployment)) })
        }
    }
}

fn of_deployment(refused: deployment::Refused) -> Refused {
    match refused {
        deployment::Refused::VersionMismatch { expected, found } => Refused::VersionMismatch { expected, found },
        deployment::Refused::InvalidTransition { from, to } => {
            Refused::InvalidTransition { from: status(from), to: status(to) }
        }
        deployment::Refused::BadDetail => Refused::BadDetail,
    }
}
