//! A device changes hands between two tenants, with the consent of both (requirement I11).
//!
//! ```text
//! offer_transfer -> accept_transfer -> [wipe_order -> confirm_wiped] -> hand_over
//! ```
//! The giving tenant offers it to another by name and gets a one-time code; who holds the code accepts in the
//! receiving tenant. As the giver's policy says (`core::transfer`), the device is told to wipe itself, and is still the
//! giver's until it says that it has, or its time is over, or a person lets it go. Then it is handed over ([`hand_over`]):
//! nothing of its life goes along but what it is (class, hardware, what the maker says of it); its certificates are
//! revoked, its state is forgotten, and it enrols anew under the receiver's authority, by the receiver's policy. Each side's
//! journal tells of it, and names of the other side the tenant and nothing else. Refused is, with one wording whatever the
//! cause, a code that is not for this tenant, or does not stand any more.

mod accept;
mod hand_over;
mod wipe;

use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, TransferId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::lifecycle::may_transfer;
use fleetward_core::registry::Device;
use fleetward_core::transfer::{Wipe, Wiped};
use fleetward_store::{SystemTx, TenantTx, TransferRow};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::enroll_tokens::NewEnrollToken;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::{device_of, load};
use crate::token::{TokenKind, generate, hash};
use crate::{App, Ctx, idempotency};

pub use accept::accept_transfer;
pub use wipe::OverdueStatus;
pub(crate) use wipe::look_at_overdue;
pub use wipe::{confirm_wiped, tell_again, wipe_order};

/// An offer stands this long unless asked otherwise.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
const NO_SUCH: Error = Error::NotFound { what: "transfer" };

/// An offer without its code.
#[derive(Clone, Debug)]
pub struct Transfer {
    pub id: TransferId,
    pub device: DeviceId,
    pub to_tenant: TenantId,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    pub canceled_at: Option<Timestamp>,
    /// What was asked of the device, and until when; set when it was accepted.
    pub wipe: Option<Wipe>,
    pub wipe_by: Option<Timestamp>,
    /// When it fetched its order, and when it was noticed that it did not confirm in time.
    pub told_at: Option<Timestamp>,
    pub overdue_at: Option<Timestamp>,
    /// When it was handed over, and what was known of its memory then.
    pub completed_at: Option<Timestamp>,
    pub wiped: Option<Wiped>,
}

/// An offer that was just made. `code` is not shown again.
#[derive(Serialize, Deserialize)]
pub struct NewTransfer {
    pub id: TransferId,
    pub device: DeviceId,
    pub to_tenant: TenantId,
    pub code: String,
    pub expires_at: Timestamp,
}

/// A device that was taken over, and the token with which it enrols. That is not shown again.
#[derive(Serialize, Deserialize)]
pub struct Received {
    pub from_tenant: TenantId,
    pub token: NewEnrollToken,
    /// Until when the device is waited for, which is to wipe itself first; none where it was handed over at once.
    #[serde(default)]
    pub waits_until: Option<Timestamp>,
}

/// Offers a device to another tenant. Whether there is such a tenant is not told: nobody learns who else is here.
///
/// # Errors
/// `NotFound`; `Conflict` (`life-cycle`) for a device that is lost or at its end, (`transfer-open`) where it is on offer
/// already; `Invalid` with the field.
pub async fn offer_transfer(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: DeviceId,
    to_tenant: TenantId,
    life: Option<Duration>,
) -> Result<NewTransfer> {
    ctx.allow(tenant, Permission::DeviceTransfer)?;
    if to_tenant == *tenant {
        return Err(Error::invalid("to_tenant", "the device is this tenant's already"));
    }
    let life = life.unwrap_or(LIFE);
    if life.is_zero() || life > limits::TRANSFER_LIFE {
        return Err(Error::invalid("ttl_s", format!("1 to {} seconds", limits::TRANSFER_LIFE.as_secs())));
    }
    let now = app.now();
    let code = generate(TokenKind::Transfer, app.rng().as_ref());
    let row = TransferRow {
        id: TransferId::generate(app.clock().as_ref(), app.rng().as_ref()),
        device,
        to_tenant,
        hash: hash(TokenKind::Transfer, code.expose()).ok_or_else(|| Error::internal("a code that is none"))?.to_vec(),
        created_by: ctx.principal.actor().name,
        created_at: now,
        expires_at: now.plus(life),
        accepted_at: None,
        canceled_at: None,
        to_device: None,
        wipe: None,
        wipe_by: None,
        told_at: None,
        overdue_at: None,
        completed_at: None,
        wiped: None,
        token: None,
    };
    let made = NewTransfer {
        id: row.id,
        device: row.device.clone(),
        to_tenant: row.to_tenant.clone(),
        code: code.expose().clone(),
        expires_at: row.expires_at,
    };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "offer transfer", move |tx| {
        Box::pin(async move {
            if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(kept);
            }
            // The lock on the device also keeps two offers of it apart.
            let found = load(tx, &row.device).await?;
            if !may_transfer(found.status) {
                let reason = format!("a device that is {} cannot be transferred", found.status);
                return Err(Error::conflict("life-cycle", reason));
            }
            let open = match tx.open_transfer(&row.device, now).await? {
                Some(open) => Some(open),
                None => tx.wiping_transfer(&row.device).await?,
            };
            if let Some(open) = open {
                let reason = format!("{} is on offer already; cancel the transfer {} first", row.device, open.id);
                return Err(Error::conflict("transfer-open", reason));
            }
            tx.insert_transfer(&row).await?;
            let detail = json!({ "to": row.to_tenant.as_str(), "expires_at": row.expires_at.to_string() });
            let entry = ctx_in.done(now, Action::TransferOffered).device(&row.device).subject(row.id);
            record(tx, &entry.severity(Severity::Notice).detail(detail)).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &made).await?;
            Ok(made)
        })
    })
    .await
}

/// A page of the offers that the tenant made, oldest first, after `after`.
pub async fn transfers(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<TransferId>,
    limit: u32,
) -> Result<Vec<Transfer>> {
    ctx.allow(tenant, Permission::DeviceTransfer)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows =
        app.read(tenant, "transfers", move |tx| Box::pin(async move { Ok(tx.transfers(after, limit).await?) })).await?;
    rows.into_iter().map(transfer_of).collect()
}

/// Takes an offer back, or calls a transfer off whose device is still waited for; what the receiving tenant has prepared is
/// taken away then. One that is over stays as it is. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`transfer-accepted`) where it is too late.
pub async fn cancel_transfer(app: &App, ctx: &Ctx, tenant: &TenantId, id: TransferId) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceTransfer)?;
    let (now, ctx_in, home) = (app.now(), ctx.clone(), tenant.clone());
    app.store()
        .system_write("cancel transfer", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let giving = tx.enter(&home).await?;
                let (_device, row) = locked(giving, id).await?;
                if row.completed_at.is_some() {
                    return Err(Error::conflict("transfer-accepted", format!("{} is {}'s", row.device, row.to_tenant)));
                }
                if giving.cancel_transfer(id, now).await? {
                    let entry = ctx_in.done(now, Action::TransferCanceled).device(&row.device).subject(id);
                    record(giving, &entry.detail(json!({ "to": row.to_tenant.as_str() }))).await?;
                    if row.accepted_at.is_some() {
                        hand_over::withdraw(tx.enter(&row.to_tenant).await?, &ctx_in, &row, &home, now).await?;
                    }
                }
                Ok(())
            })
        })
        .await
}

/// Lets a device go that has not confirmed: a person decides what the policy leaves open. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`transfer-open`) where the other tenant has not accepted, (`transfer-canceled`), (`life-cycle`)
/// for a device that is lost or at its end.
pub async fn complete_transfer(app: &App, ctx: &Ctx, tenant: &TenantId, id: TransferId) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceTransfer)?;
    let (now, request, home) = (app.now(), ctx.request_id, tenant.clone());
    let gone = app
        .store()
        .system_write("complete transfer", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let giving = tx.enter(&home).await?;
                let (device, row) = locked(giving, id).await?;
                if row.canceled_at.is_some() {
                    return Err(Error::conflict("transfer-canceled", "it was called off"));
                }
                if row.accepted_at.is_none() {
                    return Err(Error::conflict("transfer-open", format!("{} has not accepted it", row.to_tenant)));
                }
                if row.completed_at.is_some() {
                    return Ok(None);
                }
                let status = device.ok_or(NO_SUCH)?.status;
                if !may_transfer(status) {
                    let reason = format!("a device that is {status} cannot be transferred");
                    return Err(Error::conflict("life-cycle", reason));
                }
                hand_over::hand_over(tx, &home, &row, Wiped::Unconfirmed, request, now).await?;
                Ok::<_, Error>(Some(row.device))
            })
        })
        .await?;
    if let Some(device) = gone {
        hand_over::farewell(app, tenant, &device).await;
    }
    Ok(())
}

/// The transfer and its device, where that is still there. The device's lock comes first, as everywhere.
async fn locked(tx: &mut TenantTx, id: TransferId) -> Result<(Option<Device>, TransferRow)> {
    let device = tx.transfer(id).await?.ok_or(NO_SUCH)?.device;
    let device = tx.device_for_update(&device).await?.map(device_of).transpose()?;
    Ok((device, tx.transfer_for_update(id).await?.ok_or(NO_SUCH)?))
}

fn transfer_of(row: TransferRow) -> Result<Transfer> {
    let wipe = row.wipe.as_deref().map(str::parse).transpose().map_err(Error::internal)?;
    let wiped = row.wiped.as_deref().map(str::parse).transpose().map_err(Error::internal)?;
    Ok(Transfer {
        id: row.id,
        device: row.device,
        to_tenant: row.to_tenant,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        accepted_at: row.accepted_at,
        canceled_at: row.canceled_at,
        wipe,
        wipe_by: row.wipe_by,
        told_at: row.told_at,
        overdue_at: row.overdue_at,
        completed_at: row.completed_at,
        wiped,
    })
}
