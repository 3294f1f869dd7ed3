//! What operators ask of a campaign.

use fleetward_base::{RolloutId, TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::rollout::Observed;
use fleetward_core::rollout::control::{self, Refused};
use fleetward_core::rotation::campaign::{self, Campaign};
use fleetward_store::TenantTx;
use serde_json::json;

use super::read::{RotationView, rotation};
use super::{observe, rows};
use crate::error::{Error, Result};
use crate::{App, Ctx, journal};

/// Stops it: nobody else is asked, devices that were asked go on. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`rotation-state`).
pub async fn pause_rotation(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: RolloutId,
    note: Option<String>,
) -> Result<RotationView> {
    control::check_note(note.as_deref()).map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    let by = ctx.principal.actor().name;
    let decide = move |now, campaign: &Campaign, _: &Observed| control::pause(now, campaign, &by, note.as_deref());
    run(app, ctx, tenant, id, Action::RotationPaused, decide).await
}

/// Lets it go on where it stopped; what had failed by now no longer counts for its gates.
///
/// # Errors
/// As for [`pause_rotation`].
pub async fn resume_rotation(app: &App, ctx: &Ctx, tenant: &TenantId, id: RolloutId) -> Result<RotationView> {
    run(app, ctx, tenant, id, Action::RotationResumed, control::resume).await
}

/// Ends it: who waits is not asked any more, who was asked may go on.
///
/// # Errors
/// As for [`pause_rotation`].
pub async fn cancel_rotation(app: &App, ctx: &Ctx, tenant: &TenantId, id: RolloutId) -> Result<RotationView> {
    let decide = |now, campaign: &Campaign, _: &Observed| campaign::cancel(now, campaign);
    run(app, ctx, tenant, id, Action::RotationCanceled, decide).await
}

async fn run<F>(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: RolloutId,
    action: Action,
    decide: F,
) -> Result<RotationView>
where
    F: FnOnce(Timestamp, &Campaign, &Observed) -> Result<Option<Campaign>, Refused> + Send + 'static,
{
    ctx.allow(tenant, Permission::RotationControl)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "control rotation", move |tx| {
        Box::pin(async move {
            let row = tx.campaign_for_update(id).await?.ok_or(Error::NotFound { what: "rotation" })?;
            let before = rows::campaign_of(row)?;
            let observed = observe::standing(tx, &before).await?;
            let decided = decide(now, &before, &observed)
                .map_err(|refused| Error::conflict("rotation-state", refused.about("rotation")))?;
            let Some(after) = decided else { return Ok(()) };
            update(tx, &before, &after).await?;
            if action == Action::RotationCanceled {
                tx.cancel_members(id, now).await?;
            }
            let reason = after.halt.reason.as_ref().filter(|_| action == Action::RotationPaused);
            let detail = match reason {
                Some(reason) => json!({ "from": before.state.as_str(), "reason": campaign::reason(reason) }),
                None => json!({ "from": before.state.as_str() }),
            };
            let entry = ctx_in.done(now, action).subject(id).severity(Severity::Notice).detail(detail);
            journal::record(tx, &entry).await?;
            Ok(())
        })
    })
    .await?;
    rotation(app, ctx, tenant, id).await
}

/// Writes the campaign in place of what was read.
pub(crate) async fn update(tx: &mut TenantTx, before: &Campaign, after: &Campaign) -> Result<()> {
    if tx.update_campaign(&rows::row_of(after)?, before.revision).await? {
        return Ok(());
    }
    Err(Error::conflict("rotation-changed", "the rotation was changed meanwhile; try again"))
}
