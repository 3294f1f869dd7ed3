//! Looking at rollouts and what each device does in one.

use fleetward_base::{DeviceId, RolloutId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::deployment::{Deployment, Kind, Status};
use fleetward_core::rollout::{Observed, Rollout, State};
use fleetward_store::TenantTx;

use super::{observe, rows};
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// A rollout as people see it.
#[derive(Clone, Debug)]
pub struct RolloutView {
    pub rollout: Rollout,
    pub release_name: String,
    pub release_version: String,
    /// How its deployments stand, by phase and hardware revision.
    pub observed: Observed,
}

/// One rollout.
///
/// # Errors
/// `NotFound`.
pub async fn rollout(app: &App, ctx: &Ctx, tenant: &TenantId, id: RolloutId) -> Result<RolloutView> {
    ctx.allow(tenant, Permission::RolloutRead)?;
    let app_in = app.clone();
    app.read(tenant, "rollout", move |tx| {
        Box::pin(async move {
            let row = tx.rollout(id).await?.ok_or(Error::NotFound { what: "rollout" })?;
            view(&app_in, tx, rows::rollout_of(row)?).await
        })
    })
    .await
}

/// A page of the rollouts, oldest first, after `after`; those in one state, or all.
pub async fn rollouts(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    state: Option<State>,
    after: Option<RolloutId>,
    limit: u32,
) -> Result<Vec<RolloutView>> {
    ctx.allow(tenant, Permission::RolloutRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let app_in = app.clone();
    app.read(tenant, "rollouts", move |tx| {
        Box::pin(async move {
            let mut views = Vec::new();
            for row in tx.rollouts(state.map(State::as_str), after, limit).await? {
                views.push(view(&app_in, tx, rows::rollout_of(row)?).await?);
            }
            Ok(views)
        })
    })
    .await
}

/// A page of what the devices of a rollout do, by device and kind, after `after`; in one status, or all.
///
/// # Errors
/// `NotFound`.
pub async fn deployments(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: RolloutId,
    status: Option<Status>,
    after: Option<(DeviceId, Kind)>,
    limit: u32,
) -> Result<Vec<Deployment>> {
    ctx.allow(tenant, Permission::RolloutRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "deployments", move |tx| {
        Box::pin(async move {
            if tx.rollout(id).await?.is_none() {
                return Err(Error::NotFound { what: "rollout" });
            }
            let after = after.as_ref().map(|(device, kind)| (device, kind.as_str()));
            let rows = tx.deployments(id, status.map(Status::as_str), after, limit).await?;
            rows.into_iter().map(rows::deployment_of).collect()
        })
    })
    .await
}

async fn view(app: &App, tx: &mut TenantTx, rollout: Rollout) -> Result<RolloutView> {
    let release = tx.release(rollout.release).await?;
    let (release_name, release_version) = release.map(|row| (row.name, row.version)).unwrap_or_default();
    let observed = observe::standing(app, tx, &rollout, app.now()).await?;
    Ok(RolloutView { rollout, release_name, release_version, observed })
}
