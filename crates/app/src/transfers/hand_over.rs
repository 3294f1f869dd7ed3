//! The device goes from one tenant to the other, in one transaction: what the giver kept of it ends or is forgotten, and
//! what its maker says of it goes along.

use fleetward_base::{RequestId, TenantId, Timestamp};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::lifecycle::Status;
use fleetward_core::registry::Device;
use fleetward_core::transfer::Wiped;
use fleetward_store::{InventoryRow, SystemTx, TenantTx, TransferRow};
use serde_json::json;

use super::NO_SUCH;
use crate::error::{Error, Result};
use crate::jobs::settle::remove_executions_of;
use crate::journal::record;
use crate::registry::{device_of, load, store_status};
use crate::rollouts::control::cancel_deployments_of;
use crate::{App, Ctx};

/// What the certificates of a device that went away are revoked for (affiliationChanged, RFC 5280 §5.3.1).
const REASON: &str = "affiliation_changed";

/// Hands over the device of the accepted transfer `row`. Whoever calls it holds no lock of the receiving tenant.
///
/// # Errors
/// `NotFound` where somebody else was quicker.
pub(super) async fn hand_over(
    tx: &mut SystemTx,
    from: &TenantId,
    row: &TransferRow,
    wiped: Wiped,
    request: RequestId,
    now: Timestamp,
) -> Result<()> {
    let (given, made) = give(tx.enter(from).await?, row, wiped, request, now).await?;
    receive(tx.enter(&row.to_tenant).await?, row, &given, made, (from, wiped, request), now).await
}

/// The giving side: the device has nothing left in this tenant but its record and its history.
async fn give(
    tx: &mut TenantTx,
    row: &TransferRow,
    wiped: Wiped,
    request: RequestId,
    now: Timestamp,
) -> Result<(Device, Option<InventoryRow>)> {
    let before = device_of(tx.device_for_update(&row.device).await?.ok_or(NO_SUCH)?)?;
    if !tx.complete_transfer(row.id, wiped.as_str(), now).await? {
        return Err(NO_SUCH);
    }
    let certificates = tx.revoke_certificates(&before.id, REASON, now).await?.len();
    let tokens = tx.revoke_enroll_tokens(&before.id, now).await?;
    store_status(tx, &before, Status::Decommissioned, now).await?;
    cancel_deployments_of(tx, &before.id, now).await?;
    remove_executions_of(tx, &before.id, now).await?;
    let made = tx.inventory_by_device(&before.id).await?;
    if let Some(made) = &made {
        tx.remove_inventory(&made.serial).await?;
    }
    tx.forget_device_state(&before.id).await?;
    let detail = json!({
        "to": row.to_tenant.as_str(),
        "from": before.status.as_str(),
        "certificates": certificates,
        "tokens": tokens,
        "wiped": wiped.as_str(),
    });
    let unsure = matches!(wiped, Wiped::Unconfirmed | Wiped::Unreachable);
    let entry = Entry::done(now, Actor::system("transfers"), Action::DeviceTransferred).request(Some(request));
    let entry = entry.device(&before.id).subject(row.id);
    let entry = entry.severity(if unsure { Severity::Warning } else { Severity::Notice });
    record(tx, &entry.detail(detail)).await?;
    Ok((before, made))
}

/// The receiving side: it is told, and knows what the maker says. Whether that was signed, and stands on which root of
/// trust, only its own makers can tell it.
async fn receive(
    tx: &mut TenantTx,
    row: &TransferRow,
    given: &Device,
    made: Option<InventoryRow>,
    (from, wiped, request): (&TenantId, Wiped, RequestId),
    now: Timestamp,
) -> Result<()> {
    let name = row.to_device.as_ref().ok_or_else(|| Error::internal("a transfer without a name"))?;
    if let Some(made) = made
        && tx.inventory(&made.serial).await?.is_none()
        && tx.inventory_by_device(name).await?.is_none()
    {
        let known = InventoryRow {
            device: name.clone(),
            root_of_trust: None,
            attestation: None,
            attested_by: None,
            imported_at: now,
            updated_at: now,
            ..made
        };
        tx.put_inventory(&known).await?;
    }
    let detail = json!({
        "from": from.as_str(),
        "hardware": given.hardware,
        "class": given.class.as_str(),
        "wiped": wiped.as_str(),
    });
    let entry = Entry::done(now, Actor::system("transfers"), Action::DeviceReceived).request(Some(request));
    record(tx, &entry.device(name).severity(Severity::Notice).detail(detail)).await?;
    Ok(())
}

/// The giver called it off: what the receiving side had prepared goes again.
pub(super) async fn withdraw(
    tx: &mut TenantTx,
    ctx: &Ctx,
    row: &TransferRow,
    from: &TenantId,
    now: Timestamp,
) -> Result<()> {
    let Some(name) = &row.to_device else { return Ok(()) };
    if tx.device_for_update(name).await?.is_none() {
        return Ok(());
    }
    tx.revoke_enroll_tokens(name, now).await?;
    // One that enrolled here already stays: it is somebody's work.
    if load(tx, name).await?.provisioned_at.is_none() {
        tx.delete_device(name).await?;
        tx.detach_topic_policies_of(name).await?;
    }
    let entry = Entry::done(now, Actor::system("transfers"), Action::TransferCanceled).request(Some(ctx.request_id));
    record(tx, &entry.device(name).severity(Severity::Notice).detail(json!({ "from": from.as_str() }))).await?;
    Ok(())
}

/// After the commit: no session of the device is left, neither live nor kept.
pub(super) async fn farewell(app: &App, tenant: &TenantId, device: &fleetward_base::DeviceId) {
    if let Some(links) = app.links() {
        links.forget(tenant, device).await;
    }
    app.presence().forget(tenant, device);
    app.forget_answers(tenant);
}
