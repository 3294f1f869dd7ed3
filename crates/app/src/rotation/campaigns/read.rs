//! Looking at campaigns and at how each device stands in one.

use fleetward_base::{DeviceId, RolloutId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::rollout::{Observed, State};
use fleetward_core::rotation::campaign::{Campaign, Status};

use super::{observe, rows};
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// A campaign as people see it.
#[derive(Clone, Debug)]
pub struct RotationView {
    pub campaign: Campaign,
    /// How its devices stand, by phase and hardware revision.
    pub observed: Observed,
}

/// A device in a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub device: DeviceId,
    pub phase: u32,
    pub hardware: String,
    pub status: Status,
    pub queued_at: Timestamp,
    pub asked_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// One campaign.
///
/// # Errors
/// `NotFound`.
pub async fn rotation(app: &App, ctx: &Ctx, tenant: &TenantId, id: RolloutId) -> Result<RotationView> {
    ctx.allow(tenant, Permission::RotationRead)?;
    app.read(tenant, "rotation", move |tx| {
        Box::pin(async move {
            let row = tx.campaign(id).await?.ok_or(Error::NotFound { what: "rotation" })?;
            let campaign = rows::campaign_of(row)?;
            let observed = observe::standing(tx, &campaign).await?;
            Ok(RotationView { campaign, observed })
        })
    })
    .await
}

/// A page of the campaigns, oldest first, after `after`; those in one state, or all.
pub async fn rotations(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    state: Option<State>,
    after: Option<RolloutId>,
    limit: u32,
) -> Result<Vec<RotationView>> {
    ctx.allow(tenant, Permission::RotationRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "rotations", move |tx| {
        Box::pin(async move {
            let mut views = Vec::new();
            for row in tx.campaigns(state.map(State::as_str), after, limit).await? {
                let campaign = rows::campaign_of(row)?;
                let observed = observe::standing(tx, &campaign).await?;
                views.push(RotationView { campaign, observed });
            }
            Ok(views)
        })
    })
    .await
}

/// A page of the devices of a campaign, by name, after `after`; those in one status, or all.
///
/// # Errors
/// `NotFound`.
pub async fn rotation_devices(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: RolloutId,
    status: Option<Status>,
    after: Option<DeviceId>,
    limit: u32,
) -> Result<Vec<Member>> {
    ctx.allow(tenant, Permission::RotationRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "rotation devices", move |tx| {
        Box::pin(async move {
            if tx.campaign(id).await?.is_none() {
                return Err(Error::NotFound { what: "rotation" });
            }
            let rows = tx.members(id, status.map(Status::as_str), after.as_ref(), limit).await?;
            rows.into_iter()
                .map(|row| {
                    Ok(Member {
                        device: row.device,
                        phase: row.phase,
                        hardware: row.hardware,
                        status: row.status.parse().map_err(Error::internal)?,
                        queued_at: row.queued_at,
                        asked_at: row.asked_at,
                        finished_at: row.finished_at,
                    })
                })
                .collect()
        })
    })
    .await
}
