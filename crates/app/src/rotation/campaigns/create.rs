//! Making a campaign.

use fleetward_base::{RolloutId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::rollout::{Halt, Policy, State};
use fleetward_core::rotation::campaign::{Campaign, Renewal};
use fleetward_core::selector::Selector;
use serde_json::json;

use super::read::{RotationView, rotation};
use super::rows;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::rollouts::observe::meant;
use crate::{App, Ctx, idempotency};

/// A campaign as it is asked for.
#[derive(Clone, Debug)]
pub struct NewRotation {
    pub name: String,
    pub renewal: Renewal,
    pub selector: Selector,
    pub policy: Policy,
}

/// Makes a campaign, which begins by itself at the next tick.
///
/// # Errors
/// `Invalid` with the field; `Conflict` (`nothing-to-renew`) where no active device is meant.
pub async fn create_rotation(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewRotation) -> Result<RotationView> {
    ctx.allow(tenant, Permission::RotationCreate)?;
    check(&new)?;
    let now = app.now();
    let id = RolloutId::generate(app.clock().as_ref(), app.rng().as_ref());
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    let id = app
        .write(tenant, "create rotation", move |tx| {
            Box::pin(async move {
                if let Some(made) = idempotency::replay::<RolloutId>(&app_in, tx, &ctx_in).await? {
                    return Ok(made);
                }
                let target = tx.count_selected(&meant(&new.selector)).await?;
                if target == 0 {
                    return Err(Error::conflict("nothing-to-renew", "no active device is meant"));
                }
                let made = Campaign {
                    id,
                    name: new.name,
                    release: new.renewal,
                    selector: new.selector,
                    policy: new.policy,
                    state: State::Running,
                    phase: 0,
                    phase_started_at: None,
                    gate_met_at: None,
                    halt: Halt::default(),
                    target_count: u32::try_from(target).unwrap_or(u32::MAX),
                    created_by: ctx_in.principal.actor().name,
                    created_at: now,
                    updated_at: now,
                    revision: 1,
                };
                tx.insert_campaign(&rows::row_of(&made)?).await?;
                let detail = json!({
                    "name": made.name,
                    "at_once": made.release.at_once,
                    "target_count": made.target_count,
                    "phases": made.policy.phases.len(),
                });
                let entry = ctx_in.done(now, Action::RotationCreated).subject(id).severity(Severity::Notice);
                record(tx, &entry.detail(detail)).await?;
                idempotency::keep(&app_in, tx, &ctx_in, &id).await?;
                Ok(id)
            })
        })
        .await?;
    rotation(app, ctx, tenant, id).await
}

fn check(new: &NewRotation) -> Result<()> {
    new.policy.check().map_err(|invalid| Error::invalid(format!("policy.{}", invalid.field), invalid.why))?;
    if new.name.trim().is_empty() {
        return Err(Error::invalid("name", "must not be empty"));
    }
    if new.name.len() > limits::ROLLOUT_NAME_BYTES {
        return Err(Error::invalid("name", format!("longer than {} bytes", limits::ROLLOUT_NAME_BYTES)));
    }
    if new.name.chars().any(char::is_control) {
        return Err(Error::invalid("name", "must not hold control characters"));
    }
    Ok(())
}
