//! Registering devices, amending their record, and moving them along their life cycle.

use fleetward_base::{DeviceId, TenantId};
use fleetward_core::access::{DeviceRights, Permission};
use fleetward_core::journal::{Action, Severity};
use fleetward_core::lifecycle::{self, Status, Transition};
use fleetward_core::registry::{Device, DeviceFields, Invalid};
use fleetward_store::TenantTx;
use serde_json::json;

use super::read::{DeviceView, device};
use super::rows::{device_of, row_of};
use crate::error::{Error, Result};
use crate::jobs::settle::remove_executions_of;
use crate::journal::record;
use crate::rollouts::control::cancel_deployments_of;
use crate::{App, Ctx, EndReason, idempotency};

/// Registers a device before it is ever seen. Enrolment does the same by itself where nobody did it before.
///
/// # Errors
/// `Conflict` (`device-exists`); `Invalid` with the field.
pub async fn create_device(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: DeviceId,
    fields: DeviceFields,
) -> Result<DeviceView> {
    ctx.allow(tenant, Permission::DeviceCreate)?;
    let now = app.now();
    let new = Device::new(id.clone(), now).amend(fields, now).map_err(refused_field)?;
    let new = Device { revision: 1, ..new };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "create device", move |tx| {
        Box::pin(async move {
            if idempotency::replay::<DeviceId>(&app_in, tx, &ctx_in).await?.is_some() {
                return Ok(());
            }
            if tx.device(&new.id).await?.is_some() {
                return Err(Error::conflict("device-exists", format!("the device {} exists", new.id)));
            }
            tx.insert_device(&row_of(&new)?).await?;
            let detail = json!({ "hardware": new.hardware, "class": new.class.as_str() });
            record(tx, &ctx_in.done(now, Action::DeviceCreated).device(&new.id).detail(detail)).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &new.id).await
        })
    })
    .await?;
    Ok(noted(app, tenant, device(app, ctx, tenant, &id).await?))
}

/// Changes fields of the record, if it is still at `expected`.
///
/// # Errors
/// `NotFound`, `Stale`, `Invalid` with the field.
pub async fn amend_device(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &DeviceId,
    expected: u64,
    fields: DeviceFields,
) -> Result<DeviceView> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let now = app.now();
    let (ctx_in, id_in) = (ctx.clone(), id.clone());
    app.write(tenant, "amend device", move |tx| {
        Box::pin(async move {
            let before = load(tx, &id_in).await?;
            at_revision(&before, expected)?;
            let after = before.amend(fields, now).map_err(refused_field)?;
            if after.revision == before.revision {
                return Ok(());
            }
            tx.update_device(&row_of(&after)?, before.revision).await?;
            let detail = json!({ "changed": changed(&before, &after), "revision": after.revision });
            record(tx, &ctx_in.done(now, Action::DeviceUpdated).device(&id_in).detail(detail)).await?;
            Ok(())
        })
    })
    .await?;
    // Topic policies speak of what the record says.
    if let Some(links) = app.links() {
        links.recheck(tenant, id);
    }
    Ok(noted(app, tenant, device(app, ctx, tenant, id).await?))
}

/// Moves a device along its life cycle. What takes its right to connect away also revokes its certificates where
/// [`lifecycle`] says so, and ends its sessions.
///
/// # Errors
/// `NotFound`; `Conflict` (`life-cycle`) where the step does not follow from where the device is.
pub async fn change_status(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &DeviceId,
    step: Transition,
) -> Result<DeviceView> {
    let permission = match step {
        Transition::Decommission => Permission::DeviceDecommission,
        Transition::Suspend | Transition::ReportLost => Permission::DeviceRevoke,
        _ => Permission::DeviceUpdate,
    };
    ctx.allow(tenant, permission)?;
    if step == Transition::Enroll {
        return Err(Error::invalid("transition", "a device enrols at the enrolment door, not here"));
    }
    let now = app.now();
    let (ctx_in, id_in) = (ctx.clone(), id.clone());
    let status = app
        .write(tenant, "change device status", move |tx| {
            Box::pin(async move {
                let before = load(tx, &id_in).await?;
                let status = lifecycle::decide(before.status, step)
                    .map_err(|refused| Error::conflict("life-cycle", refused.to_string()))?;
                let revokes = matches!(step, Transition::Suspend | Transition::ReportLost | Transition::Decommission);
                let revoked = if revokes { tx.revoke_certificates(&id_in, step.as_str(), now).await?.len() } else { 0 };
                // A token that is still about would undo it.
                let tokens = if revokes { tx.revoke_enroll_tokens(&id_in, now).await? } else { 0 };
                if status == before.status && revoked == 0 && tokens == 0 {
                    return Ok(status);
                }
                // The other tenant waits for it: a person decides what becomes of that first.
                if status == Status::Decommissioned
                    && let Some(waiting) = tx.wiping_transfer(&id_in).await?
                {
                    let reason =
                        format!("{id_in} is on its way to {}; complete or cancel {}", waiting.to_tenant, waiting.id);
                    return Err(Error::conflict("transfer-open", reason));
                }
                store_status(tx, &before, status, now).await?;
                if status == Status::Decommissioned {
                    cancel_deployments_of(tx, &id_in, now).await?;
                    remove_executions_of(tx, &id_in, now).await?;
                    // Or the offer would stand for whatever is registered under the name next.
                    tx.cancel_transfers(&id_in, now).await?;
                }
                let action = match step {
                    Transition::Decommission => Action::DeviceDecommissioned,
                    _ => Action::DeviceStatusChanged,
                };
                let detail = json!({
                    "from": before.status.as_str(),
                    "to": status.as_str(),
                    "certificates": revoked,
                    "tokens": tokens,
                });
                let entry = ctx_in.done(now, action).device(&id_in).severity(Severity::Notice).detail(detail);
                record(tx, &entry).await?;
                Ok(status)
            })
        })
        .await?;
    app.forget_answers(tenant);
    // Also where it comes back with less, or with more: rights are those of the session.
    let other_rights = lifecycle::rights(status) != Some(DeviceRights::Full) || step == Transition::Reinstate;
    if other_rights && let Some(links) = app.links() {
        links.end_sessions(tenant, id, EndReason::Administrative);
    }
    device(app, ctx, tenant, id).await
}

/// Removes a device that is at its end, with its state, sessions and certificates. Its journal stays.
///
/// # Errors
/// `NotFound`, `Stale`; `Conflict` (`life-cycle`) where it is not decommissioned.
pub async fn remove_device(app: &App, ctx: &Ctx, tenant: &TenantId, id: &DeviceId, expected: u64) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceDecommission)?;
    let now = app.now();
    let (ctx_in, id_in) = (ctx.clone(), id.clone());
    app.write(tenant, "remove device", move |tx| {
        Box::pin(async move {
            let before = load(tx, &id_in).await?;
            at_revision(&before, expected)?;
            if before.status != Status::Decommissioned {
                let reason = format!("{id_in} is {}; decommission it first", before.status);
                return Err(Error::conflict("life-cycle", reason));
            }
            tx.delete_device(&id_in).await?;
            // Or they would hold for whoever is registered under the name next.
            tx.detach_topic_policies_of(&id_in).await?;
            let detail = json!({ "removed": true });
            let entry = ctx_in.done(now, Action::DeviceDecommissioned).device(&id_in).severity(Severity::Notice);
            record(tx, &entry.detail(detail)).await?;
            Ok(())
        })
    })
    .await?;
    if let Some(links) = app.links() {
        links.forget(tenant, id).await;
    }
    app.presence().forget(tenant, id);
    Ok(())
}

/// Presence knows how often the device is to be heard of.
fn noted(app: &App, tenant: &TenantId, view: DeviceView) -> DeviceView {
    app.presence().expect_heartbeat(tenant, &view.device.id, view.device.heartbeat_s);
    view
}

/// The record, held until the transaction ends.
pub(crate) async fn load(tx: &mut TenantTx, id: &DeviceId) -> Result<Device> {
    let row = tx.device_for_update(id).await?.ok_or(Error::NotFound { what: "device" })?;
    device_of(row)
}

pub(crate) async fn store_status(
    tx: &mut TenantTx,
    before: &Device,
    status: Status,
    now: fleetward_base::Timestamp,
) -> Result<()> {
    let certificate = if lifecycle::may_connect(status) { before.certificate.clone() } else { None };
    let after = Device { status, certificate, revision: before.revision + 1, updated_at: now, ..before.clone() };
    tx.update_device(&row_of(&after)?, before.revision).await?;
    Ok(())
}

fn at_revision(device: &Device, expected: u64) -> Result<()> {
    if device.revision == expected {
        return Ok(());
    }
    Err(Error::Stale { expected, found: device.revision })
}

pub(super) fn refused_field(invalid: Invalid) -> Error {
    Error::invalid(invalid.field, invalid.why)
}

/// Names of the fields that differ; values stay out of the journal, since nobody knows what people put there.
fn changed(before: &Device, after: &Device) -> Vec<&'static str> {
    [
        ("class", before.class != after.class),
        ("hardware", before.hardware != after.hardware),
        ("firmware", before.firmware != after.firmware),
        ("owner", before.owner != after.owner),
        ("environment", before.environment != after.environment),
        ("site", before.site != after.site),
        ("location", before.location != after.location),
        ("parent", before.parent != after.parent),
        ("endpoint", before.endpoint != after.endpoint),
        ("tags", before.tags != after.tags),
        ("attributes", before.attributes != after.attributes),
        ("heartbeat_s", before.heartbeat_s != after.heartbeat_s),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect()
}
