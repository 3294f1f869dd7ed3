//! What operators ask of a rollout.

use fleetward_base::{DeviceId, RolloutId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::deployment::{self, Kind, Status};
use fleetward_core::job::queue::Change;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::rollout::control::{self, Refused};
use fleetward_core::rollout::{Observed, Rollout};
use fleetward_store::TenantTx;
use serde_json::{Value, json};

use super::read::{RolloutView, rollout};
use super::{observe, rows};
use crate::error::{Error, Result};
use crate::jobs::queue;
use crate::{App, Ctx, journal};

/// Stops it: nothing more is assigned or handed out, devices that began go on. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`rollout-state`).
pub async fn pause_rollout(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: RolloutId,
    note: Option<String>,
) -> Result<RolloutView> {
    control::check_note(note.as_deref()).map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    let by = ctx.principal.actor().name;
    let decide = move |now, rollout: &Rollout, _: &Observed| control::pause(now, rollout, &by, note.as_deref());
    run(app, ctx, tenant, id, Action::RolloutPaused, decide).await
}

/// Lets it go on where it stopped; what had failed by now no longer counts for its gates.
///
/// # Errors
/// As for [`pause_rollout`].
pub async fn resume_rollout(app: &App, ctx: &Ctx, tenant: &TenantId, id: RolloutId) -> Result<RolloutView> {
    run(app, ctx, tenant, id, Action::RolloutResumed, control::resume).await
}

/// Ends it: what is queued is canceled, devices that began finish.
///
/// # Errors
/// As for [`pause_rollout`].
pub async fn cancel_rollout(app: &App, ctx: &Ctx, tenant: &TenantId, id: RolloutId) -> Result<RolloutView> {
    let decide = |now, rollout: &Rollout, _: &Observed| control::cancel(now, rollout);
    run(app, ctx, tenant, id, Action::RolloutCanceled, decide).await
}

/// Takes back the devices that succeeded; what is queued is canceled.
///
/// # Errors
/// As for [`pause_rollout`].
pub async fn roll_back_rollout(app: &App, ctx: &Ctx, tenant: &TenantId, id: RolloutId) -> Result<RolloutView> {
    let decide = |now, rollout: &Rollout, _: &Observed| control::roll_back(now, rollout);
    run(app, ctx, tenant, id, Action::RolloutRollbackStarted, decide).await
}

async fn run<F>(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: RolloutId,
    action: Action,
    decide: F,
) -> Result<RolloutView>
where
    F: FnOnce(Timestamp, &Rollout, &Observed) -> Result<Option<Rollout>, Refused> + Send + 'static,
{
    ctx.allow(tenant, Permission::RolloutControl)?;
    let (app_in, ctx_in, tenant_in) = (app.clone(), ctx.clone(), tenant.clone());
    app.see_through(async move {
        let touched = carry_out(&app_in, ctx_in, &tenant_in, id, action, decide).await?;
        // What is queued now is handed out again, or no longer.
        app_in.wake_rollouts();
        tell(&app_in, &tenant_in, &touched).await;
        Ok::<_, Error>(())
    })
    .await?;
    rollout(app, ctx, tenant, id).await
}

/// Decides and commits; the devices that are to be told.
async fn carry_out<F>(
    app: &App,
    ctx_in: Ctx,
    tenant: &TenantId,
    id: RolloutId,
    action: Action,
    decide: F,
) -> Result<Vec<DeviceId>>
where
    F: FnOnce(Timestamp, &Rollout, &Observed) -> Result<Option<Rollout>, Refused> + Send + 'static,
{
    let (app_in, now) = (app.clone(), app.now());
    app.write(tenant, "control rollout", move |tx| {
        Box::pin(async move {
            let row = tx.rollout_for_update(id).await?.ok_or(Error::NotFound { what: "rollout" })?;
            let before = rows::rollout_of(row)?;
            let observed = observe::standing(&app_in, tx, &before, now).await?;
            let decided = decide(now, &before, &observed)
                .map_err(|refused| Error::conflict("rollout-state", refused.to_string()))?;
            let Some(after) = decided else { return Ok(Vec::new()) };
            update(tx, &before, &after).await?;
            let reason = after.halt.reason.as_ref().filter(|_| action == Action::RolloutPaused);
            let detail = match reason {
                Some(reason) => json!({ "from": before.state.as_str(), "reason": reason.to_string() }),
                None => json!({ "from": before.state.as_str() }),
            };
            let entry = ctx_in.done(now, action).subject(id).severity(Severity::Notice).detail(detail);
            journal::record(tx, &entry).await?;
            queued_devices(tx, id).await
        })
    })
    .await
}

/// Writes the rollout in place of what was read.
pub(crate) async fn update(tx: &mut TenantTx, before: &Rollout, after: &Rollout) -> Result<()> {
    if tx.update_rollout(&rows::row_of(after)?, before.revision).await? {
        return Ok(());
    }
    Err(Error::conflict("rollout-changed", "the rollout was changed meanwhile; try again"))
}

async fn queued_devices(tx: &mut TenantTx, id: RolloutId) -> Result<Vec<DeviceId>> {
    let rows = tx.deployments(id, Some(Status::Queued.as_str()), None, limits::PAGE_ROWS).await?;
    Ok(rows.into_iter().map(|row| row.device).collect())
}

/// Cancels a page of the updates that are queued. The devices, which are to be told.
pub(crate) async fn cancel_queued(tx: &mut TenantTx, id: RolloutId, now: Timestamp) -> Result<Vec<DeviceId>> {
    let (mut devices, mut entries) = (Vec::new(), Vec::new());
    for row in tx.deployments(id, Some(Status::Queued.as_str()), None, limits::ASSIGNMENTS_PER_TICK).await? {
        let before = rows::deployment_of(row)?;
        if before.kind != Kind::Update {
            continue;
        }
        let Some(after) = deployment::end(&before, Status::Canceled, now) else { continue };
        if tx.update_deployment(&rows::deployment_row(&after)?, before.version).await? {
            entries.push(journal::row_of(&ended(&after, Action::DeploymentCanceled, Severity::Info, now)));
            devices.push(after.device);
        }
    }
    tx.journal_all(&entries).await?;
    Ok(devices)
}

/// Cancels what a device that is at its end still has open: nobody will ever report on it.
pub(crate) async fn cancel_deployments_of(tx: &mut TenantTx, device: &DeviceId, now: Timestamp) -> Result<()> {
    let Some(row) = tx.active_deployment(device).await? else { return Ok(()) };
    let before = rows::deployment_of(row)?;
    if let Some(after) = deployment::end(&before, Status::Canceled, now)
        && tx.update_deployment(&rows::deployment_row(&after)?, before.version).await?
    {
        journal::record(tx, &ended(&after, Action::DeploymentCanceled, Severity::Info, now)).await?;
    }
    Ok(())
}

/// The row of a deployment that the server ended.
pub(crate) fn ended(
    deployment: &fleetward_core::deployment::Deployment,
    action: Action,
    severity: Severity,
    now: Timestamp,
) -> Entry {
    let detail: Value = json!({ "kind": deployment.kind.as_str(), "phase": deployment.phase });
    Entry::done(now, Actor::system("rollouts"), action)
        .device(&deployment.device)
        .subject(deployment.rollout)
        .severity(severity)
        .detail(detail)
}

/// Tells devices that what is pending for them has changed.
pub(crate) async fn tell(app: &App, tenant: &TenantId, devices: &[DeviceId]) {
    let changes: Vec<_> = devices.iter().map(|device| (device.clone(), Change::unknown())).collect();
    queue::tell(app, tenant, &changes).await;
}
