//! A device changes hands between two tenants, with the consent of both (requirement I11).
//!
//! The giving tenant offers it to another by name and gets a one-time code; who holds the code accepts in the
//! receiving tenant. Nothing of the device's life goes along but what it is (class and hardware): its certificates are revoked, its
//! state is forgotten, and it enrols anew under the receiver's authority, by the receiver's policy. Each side's journal
//! tells of it, and names of the other side the tenant and nothing else. Refused is, with one wording whatever the cause,
//! a code that is not for this tenant, or does not stand any more.

use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, TransferId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::lifecycle::{Status, may_transfer};
use fleetward_core::registry::{Class, Device};
use fleetward_store::{SystemTx, TenantTx, TransferRow};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::enroll_tokens::{NewEnrollToken, give_token};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::{device_of, load, row_of, store_status};
use crate::rollouts::control::cancel_deployments_of;
use crate::token::{TokenKind, generate, hash};
use crate::{App, Ctx, EndReason, idempotency};

/// An offer stands this long unless asked otherwise.
const LIFE: Duration = Duration::from_secs(7 * 24 * 3600);
/// What the certificates of a device that went away are revoked for (affiliationChanged, RFC 5280 §5.3.1).
const REASON: &str = "affiliation_changed";
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
            if let Some(open) = tx.open_transfer(&row.device, now).await? {
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
    Ok(rows.into_iter().map(transfer_of).collect())
}

/// Takes an offer back. One that was accepted stays accepted. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`transfer-accepted`) where it is too late.
pub async fn cancel_transfer(app: &App, ctx: &Ctx, tenant: &TenantId, id: TransferId) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceTransfer)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "cancel transfer", move |tx| {
        Box::pin(async move {
            let row = tx.transfer_for_update(id).await?.ok_or(NO_SUCH)?;
            if row.accepted_at.is_some() {
                let reason = format!("{} has accepted {}", row.to_tenant, row.device);
                return Err(Error::conflict("transfer-accepted", reason));
            }
            if tx.cancel_transfer(id, now).await? {
                let entry = ctx_in.done(now, Action::TransferCanceled).device(&row.device).subject(id);
                record(tx, &entry.detail(json!({ "to": row.to_tenant.as_str() }))).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Takes over the device that `code` is for, under `name` or the one that it had. All of it happens, or nothing; of two
/// who come at once one wins.
///
/// # Errors
/// `NotFound` for a code that is not this tenant's to use, or no longer; `Conflict` (`device-exists`) where the name is
/// taken, which leaves the offer as it was.
pub async fn accept_transfer(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    code: &str,
    name: Option<DeviceId>,
) -> Result<Received> {
    ctx.allow(tenant, Permission::DeviceTransfer)?;
    let hash = hash(TokenKind::Transfer, code).ok_or(NO_SUCH)?;
    let now = app.now();
    let (app_in, ctx_in, tenant_in) = (app.clone(), ctx.clone(), tenant.clone());
    let (received, left) = app
        .store()
        .system_write("accept transfer", move |tx: &mut SystemTx| {
            Box::pin(async move {
                if let Some(kept) = idempotency::replay(&app_in, tx.enter(&tenant_in).await?, &ctx_in).await? {
                    return Ok::<_, Error>((kept, None));
                }
                let of = tx.transfer_by_hash(&hash).await?.ok_or(NO_SUCH)?;
                let from_tenant = of.tenant.ok_or(NO_SUCH)?;
                let giving = tx.enter(&from_tenant).await?;
                let given = give(giving, &ctx_in, &of.row, &tenant_in, now).await?;
                let name = name.unwrap_or_else(|| given.id.clone());
                let receiving = tx.enter(&tenant_in).await?;
                receive(receiving, &ctx_in, &name, given.class, given.hardware, &from_tenant, now).await?;
                let token = give_token(&app_in, receiving, &ctx_in, name, now).await?;
                let left = Some((from_tenant.clone(), given.id));
                let received = Received { from_tenant, token };
                idempotency::keep(&app_in, receiving, &ctx_in, &received).await?;
                Ok((received, left))
            })
        })
        .await?;
    if let Some((from, device)) = left {
        if let Some(links) = app.links() {
            links.end_sessions(&from, &device, EndReason::Administrative);
        }
        app.presence().forget(&from, &device);
        app.forget_answers(&from);
    }
    Ok(received)
}

/// The giving side: the offer is used, and the device has nothing left in this tenant but its record and its history.
async fn give(tx: &mut TenantTx, ctx: &Ctx, offer: &TransferRow, to: &TenantId, now: Timestamp) -> Result<Device> {
    // First the device, then the offer, as whoever decommissions it does.
    let before = device_of(tx.device_for_update(&offer.device).await?.ok_or(NO_SUCH)?)?;
    let row = tx.transfer_for_update(offer.id).await?.ok_or(NO_SUCH)?;
    let stands = row.to_tenant == *to && row.expires_at > now && may_transfer(before.status);
    if !stands || !tx.accept_transfer(row.id, now).await? {
        return Err(NO_SUCH);
    }
    let certificates = tx.revoke_certificates(&before.id, REASON, now).await?.len();
    let tokens = tx.revoke_enroll_tokens(&before.id, now).await?;
    store_status(tx, &before, Status::Decommissioned, now).await?;
    cancel_deployments_of(tx, &before.id, now).await?;
    tx.forget_device_state(&before.id).await?;
    let detail = json!({
        "to": to.as_str(),
        "from": before.status.as_str(),
        "certificates": certificates,
        "tokens": tokens,
    });
    // Who accepted is the other tenant's own affair.
    let entry = Entry::done(now, Actor::system("transfers"), Action::DeviceTransferred).request(Some(ctx.request_id));
    let entry = entry.device(&before.id).subject(row.id).severity(Severity::Notice);
    record(tx, &entry.detail(detail)).await?;
    Ok(before)
}

/// The receiving side: a new device of which only is known what it is.
async fn receive(
    tx: &mut TenantTx,
    ctx: &Ctx,
    name: &DeviceId,
    class: Class,
    hardware: String,
    from: &TenantId,
    now: Timestamp,
) -> Result<()> {
    if tx.device(name).await?.is_some() {
        return Err(Error::conflict(
            "device-exists",
            format!("the device {name} exists; accept it under another name"),
        ));
    }
    let device = Device { class, hardware, ..Device::new(name.clone(), now) };
    tx.insert_device(&row_of(&device)?).await?;
    let detail = json!({ "from": from.as_str(), "hardware": device.hardware, "class": device.class.as_str() });
    let entry = ctx.done(now, Action::DeviceReceived).device(name).severity(Severity::Notice);
    record(tx, &entry.detail(detail)).await?;
    Ok(())
}

fn transfer_of(row: TransferRow) -> Transfer {
    Transfer {
        id: row.id,
        device: row.device,
        to_tenant: row.to_tenant,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        accepted_at: row.accepted_at,
        canceled_at: row.canceled_at,
    }
}
