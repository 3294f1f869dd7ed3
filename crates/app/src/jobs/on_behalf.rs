//! Jobs that an operator works on in a device's place: a gateway that speaks for a machine without a connection, somebody
//! who did by hand what the document asks.
//!
//! The rules are those for the device itself, and it hears of what changed as if it had spoken; the journal names the
//! operator. A deployment is not reported in a device's place: what is installed is the device's own word, and rollouts
//! believe it.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, JobId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::job::execution::{Refused, Report, StepTimeout};
use fleetward_core::job::queue::Place;
use fleetward_core::job::{Execution, Status};
use fleetward_store::TenantTx;

use super::device::{ReportError, report_execution};
use super::queue;
use super::read::{NO_EXECUTION, NO_JOB};
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// An execution with the document that the device is to work on, as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub execution: Execution,
    pub document: String,
}

/// What jobs have pending for a device, in its order.
///
/// # Errors
/// `NotFound` for the device.
pub async fn pending_of(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId) -> Result<Vec<Execution>> {
    ctx.allow(tenant, Permission::JobRead)?;
    let (device, now) = (device.clone(), app.now());
    app.read(tenant, "pending of device", move |tx| Box::pin(async move { queue_of(tx, device, now).await })).await
}

async fn queue_of(tx: &mut TenantTx, device: DeviceId, now: Timestamp) -> Result<Vec<Execution>> {
    tx.device(&device).await?.ok_or(Error::NotFound { what: "device" })?;
    let mut queue = queue::executions(tx, &[device], now).await?;
    queue.sort_by_key(|one| Place::of(one.status, one.queued_at, one.job.as_str(), one.number));
    queue.truncate(usize::try_from(limits::JOBS_PENDING_SHOWN).unwrap_or(usize::MAX));
    Ok(queue)
}

/// What is first for a device; `None` where nothing is pending.
///
/// # Errors
/// `NotFound` for the device.
pub async fn next_of(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId) -> Result<Option<Task>> {
    ctx.allow(tenant, Permission::JobRead)?;
    let (device, now) = (device.clone(), app.now());
    app.read(tenant, "next of device", move |tx| {
        Box::pin(async move {
            let Some(execution) = queue_of(tx, device, now).await?.into_iter().next() else { return Ok(None) };
            let document = tx.job_document(&execution.job).await?.ok_or(NO_JOB)?;
            Ok(Some(Task { execution, document }))
        })
    })
    .await
}

/// Begins what is first for a device, in its place. What is in progress already is given again as it is.
///
/// # Errors
/// `NotFound` for the device; `Invalid` (`detail`, `step_timeout`).
pub async fn start_next_of(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    (detail, step_timeout): (Option<BTreeMap<String, String>>, Option<StepTimeout>),
) -> Result<Option<Task>> {
    ctx.allow(tenant, Permission::JobReport)?;
    let Some(Task { execution, document }) = next_of(app, ctx, tenant, device).await? else { return Ok(None) };
    if execution.status != Status::Queued {
        return Ok(Some(Task { execution, document }));
    }
    let expected_version = Some(execution.version);
    let report = Report { status: Status::InProgress, detail, expected_version, step_timeout };
    let what = (&execution.job, Some(execution.number));
    match report_execution(app, ctx, (tenant, device), what, report).await {
        Ok(Some(execution)) => Ok(Some(Task { execution, document })),
        // The device or somebody else was quicker: what is next now is another.
        Ok(None)
        | Err(ReportError::Refused {
            refused: Refused::VersionMismatch { .. } | Refused::InvalidTransition { .. },
            ..
        }) => Ok(next_of(app, ctx, tenant, device).await?.filter(|next| next.execution.status != Status::Queued)),
        Err(error) => Err(refusal(error)),
    }
}

/// Says of an execution of a device, of this number or the last, what the device would say.
///
/// # Errors
/// `NotFound`; `Stale` where another version was expected; `Conflict` (`execution-state`); `Invalid`.
pub async fn report_for(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    (job, number): (&JobId, Option<u64>),
    report: Report,
) -> Result<Execution> {
    ctx.allow(tenant, Permission::JobReport)?;
    let reported = report_execution(app, ctx, (tenant, device), (job, number), report).await.map_err(refusal)?;
    reported.ok_or(NO_EXECUTION)
}

fn refusal(error: ReportError) -> Error {
    match error {
        ReportError::App(error) => error,
        ReportError::Refused { refused, .. } => match refused {
            Refused::VersionMismatch { expected, found } => Error::Stale { expected, found },
            Refused::InvalidTransition { .. } => Error::conflict("execution-state", refused.to_string()),
            Refused::BadDetail => Error::invalid("detail", refused.to_string()),
            Refused::BadStepTimeout => Error::invalid("step_timeout_minutes", refused.to_string()),
        },
    }
}
