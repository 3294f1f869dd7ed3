//! What devices say of their deployments.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::deployment::{Applied, Deployment, DeploymentId, Kind, Report, Status, apply};
use fleetward_core::job::queue::Change;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::registry::{DeviceFields, Patch};
use fleetward_store::TenantTx;
use serde_json::{Value, json};

use super::{Offer, ReportError, deliverable, document, key, of_rollout};
use crate::error::{Error, Result};
use crate::jobs::queue::{self, place_of as place};
use crate::journal::record;
use crate::registry::{device_of, row_of};
use crate::rollouts::rows;
use crate::{App, Ctx};

/// A report that was taken.
#[derive(Clone, Debug)]
pub struct Reported {
    pub deployment: Deployment,
    /// False where the same report came before.
    pub changed: bool,
    /// What it changed in the queue of the device.
    moved: Change,
}

/// The detail, and the key of the reported state, in which a device says what it runs.
pub(crate) const FIRMWARE: &str = "firmware";

/// Takes the report of the device that speaks. The same report twice is taken twice and written once.
///
/// # Errors
/// [`ReportError::Refused`] with the deployment as it is; `NotFound`.
pub async fn report(app: &App, ctx: &Ctx, id: DeploymentId, report: Report) -> Result<Reported, ReportError> {
    let (tenant, device) = ctx.device()?;
    let (ctx_in, key, now) = (ctx.clone(), key(id, device), app.now());
    let (app_in, tenant, device) = (app.clone(), tenant.clone(), device.clone());
    app.see_through(async move {
        let taken = app_in.store().write(&tenant, "report deployment", move |tx| {
            Box::pin(async move {
                let row = tx.deployment_for_update(&key).await?.ok_or(Error::NotFound { what: "deployment" })?;
                take(tx, &ctx_in, rows::deployment_of(row)?, &report, now).await
            })
        });
        let reported: Reported = taken.await?;
        after(&app_in, &tenant, &device, &reported).await;
        Ok::<_, ReportError>(reported)
    })
    .await
}

/// Hands the device what is next for it, in progress from now on. One that it began already is given again as it is;
/// `None` where nothing is pending.
///
/// # Errors
/// As for [`report`], should `detail` break a rule.
pub async fn start_next(
    app: &App,
    ctx: &Ctx,
    detail: Option<BTreeMap<String, String>>,
) -> Result<Option<Offer>, ReportError> {
    let (tenant, device) = ctx.device()?;
    let (app_in, ctx_in, device_in, now) = (app.clone(), ctx.clone(), device.clone(), app.now());
    app.store()
        .write(tenant, "start deployment", move |tx| {
            Box::pin(async move {
                let Some((mut deployment, _, release)) = deliverable(tx, &device_in).await? else { return Ok(None) };
                if deployment.status == Status::Queued {
                    let report = Report { status: Status::InProgress, detail, expected_version: None };
                    deployment = take(tx, &ctx_in, deployment, &report, now).await?.deployment;
                }
                Ok::<_, ReportError>(Some(document::offer(&app_in, deployment, &release)?))
            })
        })
        .await
}

async fn take(
    tx: &mut TenantTx,
    ctx: &Ctx,
    before: Deployment,
    report: &Report,
    now: Timestamp,
) -> Result<Reported, ReportError> {
    let after = match apply(&before, report, now) {
        Ok(Applied::Changed(after)) => after,
        Ok(Applied::Repeated) => {
            return Ok(Reported { deployment: before, changed: false, moved: Change::default() });
        }
        Err(refused) => return Err(ReportError::Refused { refused, deployment: Box::new(before) }),
    };
    if !tx.update_deployment(&rows::deployment_row(&after)?, before.version).await? {
        return Err(Error::conflict("deployment-changed", "the deployment was changed meanwhile; try again").into());
    }
    let firmware = firmware(tx, &after).await?;
    if let Some(version) = &firmware {
        note_firmware(tx, &after.device, version, now).await?;
    }
    let (action, severity) = match after.status {
        Status::Queued => (Action::DeploymentQueued, Severity::Info),
        Status::InProgress if before.status == Status::Queued => (Action::DeploymentStarted, Severity::Info),
        Status::InProgress => (Action::DeploymentProgressed, Severity::Info),
        Status::Succeeded => (Action::DeploymentSucceeded, Severity::Notice),
        Status::Failed => (Action::DeploymentFailed, Severity::Warning),
        Status::Rejected => (Action::DeploymentRejected, Severity::Warning),
        Status::TimedOut => (Action::DeploymentTimedOut, Severity::Warning),
        Status::Canceled => (Action::DeploymentCanceled, Severity::Info),
    };
    let detail: Value = json!({
        "kind": after.kind.as_str(),
        "version": after.version,
        "step": after.step,
        "firmware": firmware,
        "device_says": after.detail,
    });
    let entry = ctx.done(now, action).device(&after.device).subject(after.rollout).severity(severity);
    record(tx, &entry.detail(detail)).await?;
    let moved = Change { before: place(&before), after: place(&after), unknown: false };
    Ok(Reported { deployment: after, changed: true, moved })
}

/// What the device runs after this report: what it says, else what follows from the outcome.
async fn firmware(tx: &mut TenantTx, after: &Deployment) -> Result<Option<String>> {
    if !after.status.is_terminal() {
        return Ok(None);
    }
    if let Some(said) = after.detail.get(FIRMWARE) {
        return Ok(Some(said.clone()));
    }
    match (after.status, after.kind) {
        (Status::Succeeded, Kind::Update) => Ok(Some(of_rollout(tx, after.rollout).await?.1.version)),
        (Status::Succeeded, Kind::Rollback) => {
            let update = key(DeploymentId { rollout: after.rollout, kind: Kind::Update }, &after.device);
            Ok(tx.deployment(&update).await?.and_then(|row| row.from_version))
        }
        _ => Ok(None),
    }
}

/// The record says what the device says that it runs.
pub(crate) async fn note_firmware(tx: &mut TenantTx, device: &DeviceId, version: &str, now: Timestamp) -> Result<()> {
    let Some(row) = tx.device_for_update(device).await? else { return Ok(()) };
    let before = device_of(row)?;
    let fields = DeviceFields { firmware: Patch::Set(version.to_owned()), ..DeviceFields::default() };
    // A version that cannot stand in the record stays in the report only.
    let Ok(after) = before.amend(fields, now) else { return Ok(()) };
    if after.revision != before.revision {
        tx.update_device(&row_of(&after)?, before.revision).await?;
    }
    Ok(())
}

async fn after(app: &App, tenant: &TenantId, device: &DeviceId, reported: &Reported) {
    if !reported.changed {
        return;
    }
    app.wake_rollouts();
    queue::tell(app, tenant, &[(device.clone(), reported.moved.clone())]).await;
}
