//! The device on its way: it is told, fetches its order, says that it has wiped itself; or says nothing.

use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, TransferId, limits};
use fleetward_core::journal::{Action, Severity};
use fleetward_core::lifecycle::may_enroll;
use fleetward_core::transfer::{Step, Wipe, Wiped, at_deadline};
use fleetward_store::{SystemTx, TenantTx, TransferRow};
use fleetward_wire::transfer::{Notice, Order, topic};
use serde_json::json;

use super::{NO_SUCH, hand_over};
use crate::enroll_tokens::give_token;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::{device_of, load};
use crate::{App, Ctx};

/// The token of an order lives this long: a device that has wiped itself may be away for a while.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Transfers that one look takes.
const AT_ONCE: u32 = 100;

/// Tells the device, where it is connected.
pub(super) async fn tell(app: &App, tenant: &TenantId, row: &TransferRow) {
    if let Some(links) = app.links() {
        let notice = Notice { transfer: row.id.to_string() };
        links.publish(tenant, topic(row.device.as_str()), notice.to_bytes().into()).await;
    }
}

/// Tells a device once more that it is to go, where it is: it has just subscribed.
///
/// # Errors
/// Where the store does not answer.
pub async fn tell_again(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    let device = device.clone();
    let waiting = app
        .read(tenant, "transfer of device", move |tx| Box::pin(async move { Ok(tx.wiping_transfer(&device).await?) }))
        .await?;
    if let Some(row) = waiting {
        tell(app, tenant, &row).await;
    }
    Ok(())
}

/// Where the device that speaks is to go, and with what it enrols there. A token that an earlier order held counts no more.
///
/// # Errors
/// `NotFound` where it is not to go; `Conflict` (`receiver-gone`) where the other tenant does not expect it any more;
/// `TooMany` for one that asks again and again.
pub async fn wipe_order(app: &App, ctx: &Ctx) -> Result<Order> {
    let (tenant, device) = ctx.device()?;
    let (now, app_in, tenant, device) = (app.now(), app.clone(), tenant.clone(), device.clone());
    app.store()
        .system_write("order to wipe", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let giving = tx.enter(&tenant).await?;
                load(giving, &device).await?;
                let row = giving.wiping_transfer(&device).await?.ok_or(NO_SUCH)?;
                let receiving = tx.enter(&row.to_tenant).await?;
                let name = expected(receiving, &row).await?;
                if let Some(last) = row.token {
                    forget_token(receiving, last, now).await?;
                }
                let maker = app_in.system("transfers");
                let token = give_token(&app_in, receiving, &maker, name.clone(), Some(TOKEN_LIFE), now).await?;
                tx.enter(&tenant).await?.tell_transfer(row.id, token.id, now).await?;
                Ok::<_, Error>(Order {
                    transfer: row.id.to_string(),
                    tenant: row.to_tenant.to_string(),
                    device: name.to_string(),
                    token: token.token,
                })
            })
        })
        .await
}

/// Its name there, where the receiving tenant still expects it.
async fn expected(tx: &mut TenantTx, row: &TransferRow) -> Result<DeviceId> {
    let gone = || Error::conflict("receiver-gone", "the other tenant does not expect this device any more");
    let name = row.to_device.clone().ok_or_else(gone)?;
    let device = device_of(tx.device_for_update(&name).await?.ok_or_else(gone)?)?;
    if may_enroll(device.status) { Ok(name) } else { Err(gone()) }
}

async fn forget_token(tx: &mut TenantTx, id: fleetward_base::TokenId, now: Timestamp) -> Result<()> {
    let Some(token) = tx.enroll_token(id).await? else { return Ok(()) };
    let age = now.since(token.created_at);
    if age < limits::TRANSFER_ORDER_EVERY {
        return Err(Error::TooMany { what: "orders of this device", retry_after: limits::TRANSFER_ORDER_EVERY - age });
    }
    tx.revoke_enroll_token(id, now).await?;
    Ok(())
}

/// The device that speaks has wiped itself: it is the other tenant's from now on, and its certificate here is over.
///
/// # Errors
/// `NotFound` where it is not to go, or was never told; `Conflict` (`receiver-gone`).
pub async fn confirm_wiped(app: &App, ctx: &Ctx, transfer: TransferId) -> Result<()> {
    let (tenant, device) = ctx.device()?;
    let (now, request, home, of) = (app.now(), ctx.request_id, tenant.clone(), device.clone());
    app.store()
        .system_write("wiped", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let giving = tx.enter(&home).await?;
                load(giving, &of).await?;
                let row = giving.wiping_transfer(&of).await?.filter(|row| row.id == transfer && row.told_at.is_some());
                let row = row.ok_or(NO_SUCH)?;
                expected(tx.enter(&row.to_tenant).await?, &row).await?;
                hand_over::hand_over(tx, &home, &row, Wiped::Confirmed, request, now).await
            })
        })
        .await?;
    hand_over::farewell(app, tenant, device).await;
    Ok(())
}

/// What one look did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverdueStatus {
    pub handed_over: usize,
    pub told: usize,
}

/// Looks at devices that have not confirmed in time: each is handed over, or told of once, as the rule of its transfer
/// says.
///
/// # Errors
/// Where the store does not answer.
pub(crate) async fn look_at_overdue(app: &App) -> Result<OverdueStatus> {
    let now = app.now();
    let rows = app
        .store()
        .system_read("overdue transfers", move |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.overdue_transfers(now, AT_ONCE).await?) })
        })
        .await?;
    let mut status = OverdueStatus::default();
    for of in rows {
        let Some(tenant) = of.tenant else { continue };
        match overdue(app, &tenant, of.row, now).await {
            Ok(true) => status.handed_over += 1,
            Ok(false) => status.told += 1,
            // The device, or a person, was quicker.
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(status)
}

/// Whether it was handed over.
async fn overdue(app: &App, tenant: &TenantId, row: TransferRow, now: Timestamp) -> Result<bool> {
    let (ctx, home, device) = (app.system("transfers"), tenant.clone(), row.device.clone());
    let gone = app
        .store()
        .system_write("overdue transfer", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let giving = tx.enter(&home).await?;
                let status = load(giving, &row.device).await?.status;
                let rule: Wipe = row.wipe.as_deref().unwrap_or_default().parse().map_err(Error::internal)?;
                if let Step::HandOver(wiped) = at_deadline(rule, status) {
                    hand_over::hand_over(tx, &home, &row, wiped, ctx.request_id, now).await?;
                    return Ok::<_, Error>(true);
                }
                if giving.mark_transfer_overdue(row.id, now).await? {
                    let detail = json!({ "to": row.to_tenant.as_str(), "told": row.told_at.is_some() });
                    let entry = ctx.done(now, Action::TransferUnconfirmed).device(&row.device).subject(row.id);
                    record(giving, &entry.severity(Severity::Warning).detail(detail)).await?;
                }
                Ok(false)
            })
        })
        .await?;
    if gone {
        hand_over::farewell(app, tenant, &device).await;
    }
    Ok(gone)
}
