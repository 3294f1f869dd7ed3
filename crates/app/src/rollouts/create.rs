//! Making a rollout.

use fleetward_base::{ReleaseId, RolloutId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::registry::Invalid;
use fleetward_core::rollout::{Halt, Policy, Rollout, State};
use fleetward_core::selector::Selector;
use fleetward_store::TenantTx;
use fleetward_supply::Manifest;
use serde_json::json;

use super::read::{RolloutView, rollout};
use super::{observe, rows};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// A rollout as it is asked for.
#[derive(Clone, Debug)]
pub struct NewRollout {
    /// What people call it; the release's name and version where it is absent.
    pub name: Option<String>,
    pub release: ReleaseId,
    pub selector: Selector,
    pub policy: Policy,
}

/// Makes a rollout, which begins by itself at the next tick.
///
/// # Errors
/// `Invalid` with the field; `NotFound` (the release); `Conflict` (`nothing-to-update`) where no device is meant that the
/// release fits and that does not run it.
pub async fn create_rollout(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewRollout) -> Result<RolloutView> {
    ctx.allow(tenant, Permission::RolloutCreate)?;
    check(&new)?;
    let now = app.now();
    let id = RolloutId::generate(app.clock().as_ref(), app.rng().as_ref());
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    let id = app
        .write(tenant, "create rollout", move |tx| {
            Box::pin(async move {
                if let Some(made) = idempotency::replay::<RolloutId>(&app_in, tx, &ctx_in).await? {
                    return Ok(made);
                }
                let (made, _) = draft(tx, id, &new, ctx_in.principal.actor().name, now).await?;
                if made.target_count == 0 {
                    let reason = "no active device is meant that the release fits and that does not run it already";
                    return Err(Error::conflict("nothing-to-update", reason));
                }
                tx.insert_rollout(&rows::row_of(&made)?).await?;
                let detail = json!({
                    "name": made.name,
                    "release": made.release.to_string(),
                    "target_count": made.target_count,
                    "phases": made.policy.phases.len(),
                });
                let entry = ctx_in.done(now, Action::RolloutCreated).subject(id).severity(Severity::Notice);
                record(tx, &entry.detail(detail)).await?;
                idempotency::keep(&app_in, tx, &ctx_in, &id).await?;
                Ok(id)
            })
        })
        .await?;
    app.wake_rollouts();
    rollout(app, ctx, tenant, id).await
}

pub(super) fn check(new: &NewRollout) -> Result<()> {
    new.policy.check().map_err(refused)?;
    match &new.name {
        Some(name) if name.trim().is_empty() => Err(Error::invalid("name", "must not be empty")),
        Some(name) if name.len() > limits::ROLLOUT_NAME_BYTES => {
            Err(Error::invalid("name", format!("longer than {} bytes", limits::ROLLOUT_NAME_BYTES)))
        }
        Some(name) if name.chars().any(char::is_control) => {
            Err(Error::invalid("name", "must not hold control characters"))
        }
        _ => Ok(()),
    }
}

/// The rollout as it would begin, and the manifest that it brings.
pub(super) async fn draft(
    tx: &mut TenantTx,
    id: RolloutId,
    new: &NewRollout,
    created_by: String,
    now: Timestamp,
) -> Result<(Rollout, Manifest)> {
    let release = tx.release(new.release).await?.ok_or(Error::NotFound { what: "release" })?;
    let manifest = observe::manifest_of(&release)?;
    let target = match observe::eligible(&new.selector, &manifest) {
        Some(selector) => tx.count_selected(&selector).await?,
        None => 0,
    };
    let rollout = Rollout {
        id,
        name: new.name.clone().unwrap_or_else(|| format!("{} {}", release.name, release.version)),
        release: release.id,
        selector: new.selector.clone(),
        policy: new.policy.clone(),
        state: State::Running,
        phase: 0,
        phase_started_at: None,
        gate_met_at: None,
        halt: Halt::default(),
        target_count: u32::try_from(target).unwrap_or(u32::MAX),
        created_by,
        created_at: now,
        updated_at: now,
        revision: 1,
    };
    Ok((rollout, manifest))
}

fn refused(invalid: Invalid) -> Error {
    Error::invalid(format!("policy.{}", invalid.field), invalid.why)
}
