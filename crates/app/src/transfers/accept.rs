//! The receiving tenant accepts: from then on both agree.

use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_core::identity_policy::TransferPolicy;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::lifecycle::may_transfer;
use fleetward_core::registry::Device;
use fleetward_core::transfer::{Step, at_acceptance};
use fleetward_store::{SystemTx, TenantTx, TransferRow};
use serde_json::json;

use super::{NO_SUCH, Received, hand_over, wipe};
use crate::enroll_tokens::give_token;
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::registry::{device_of, row_of};
use crate::token::{TokenKind, hash};
use crate::{App, Ctx, idempotency};

/// What has to follow the commit.
enum Next {
    /// It is the same request as before.
    Nothing,
    /// The device has gone.
    Farewell(DeviceId),
    /// The device is to be told.
    Tell(Box<TransferRow>),
}

/// Takes over the device that `code` is for, under `name` or the one that it had. All of it happens, or nothing; of two
/// who come at once one wins. The device is handed over at once, or after it has wiped itself, as the giver's policy says.
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
    let from = giver(app, &hash).await?;
    let policy = identity_policy(app, &from).await?.transfer.clone();
    let (app_in, ctx_in, tenant_in, from_in) = (app.clone(), ctx.clone(), tenant.clone(), from.clone());
    let (received, next) = app
        .store()
        .system_write("accept transfer", move |tx: &mut SystemTx| {
            Box::pin(async move {
                if let Some(kept) = idempotency::replay(&app_in, tx.enter(&tenant_in).await?, &ctx_in).await? {
                    return Ok::<_, Error>((kept, Next::Nothing));
                }
                let of = tx.transfer_by_hash(&hash).await?.ok_or(NO_SUCH)?;
                let giving = tx.enter(&from_in).await?;
                let (given, row, step) = agree(giving, &ctx_in, of.row, (&tenant_in, name), &policy, now).await?;
                let name = row.to_device.clone().ok_or_else(|| Error::internal("a transfer without a name"))?;
                let receiving = tx.enter(&tenant_in).await?;
                expect(receiving, &ctx_in, &name, &given, &from_in, now).await?;
                let token = give_token(&app_in, receiving, &ctx_in, name, None, now).await?;
                let waits_until = (step == Step::Wait).then_some(row.wipe_by).flatten();
                let received = Received { from_tenant: from_in.clone(), token, waits_until };
                idempotency::keep(&app_in, receiving, &ctx_in, &received).await?;
                let next = match step {
                    Step::Wait => Next::Tell(Box::new(row)),
                    Step::HandOver(wiped) => {
                        hand_over::hand_over(tx, &from_in, &row, wiped, ctx_in.request_id, now).await?;
                        Next::Farewell(given.id)
                    }
                };
                Ok((received, next))
            })
        })
        .await?;
    match next {
        Next::Nothing => {}
        Next::Farewell(device) => hand_over::farewell(app, &from, &device).await,
        Next::Tell(row) => wipe::tell(app, &from, &row).await,
    }
    Ok(received)
}

/// Whose offer it is. Whether it stands is seen under the lock of its row.
async fn giver(app: &App, hash: &[u8; 32]) -> Result<TenantId> {
    let hash = *hash;
    let of = app
        .store()
        .system_read("giver of transfer", move |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.transfer_by_hash(&hash).await?) })
        })
        .await?;
    of.and_then(|of| of.tenant).ok_or(NO_SUCH)
}

/// The giving side: the offer is used. The device as it is, the transfer as it stands now, and what is to be done.
async fn agree(
    tx: &mut TenantTx,
    ctx: &Ctx,
    offer: TransferRow,
    (to, name): (&TenantId, Option<DeviceId>),
    policy: &TransferPolicy,
    now: Timestamp,
) -> Result<(Device, TransferRow, Step)> {
    // First the device, then the offer, as whoever decommissions it does.
    let device = device_of(tx.device_for_update(&offer.device).await?.ok_or(NO_SUCH)?)?;
    let row = tx.transfer_for_update(offer.id).await?.ok_or(NO_SUCH)?;
    let stands = row.to_tenant == *to && row.expires_at > now && may_transfer(device.status);
    let row = TransferRow {
        to_device: Some(name.unwrap_or_else(|| device.id.clone())),
        wipe: Some(policy.wipe.to_string()),
        wipe_by: Some(now.plus(policy.patience())),
        ..row
    };
    if !stands || !tx.accept_transfer(&row, now).await? {
        return Err(NO_SUCH);
    }
    let step = at_acceptance(policy.wipe, device.status, device.provisioned_at.is_some());
    let detail = json!({
        "to": to.as_str(),
        "wipe": policy.wipe.as_str(),
        "wipe_by": row.wipe_by.filter(|_| step == Step::Wait).map(|at| at.to_string()),
    });
    // Who accepted is the other tenant's own affair.
    let entry = Entry::done(now, Actor::system("transfers"), Action::TransferAccepted).request(Some(ctx.request_id));
    let entry = entry.device(&device.id).subject(row.id).severity(Severity::Notice);
    record(tx, &entry.detail(detail)).await?;
    Ok((device, row, step))
}

/// The receiving side: a new device of which only is known what it is.
async fn expect(
    tx: &mut TenantTx,
    ctx: &Ctx,
    name: &DeviceId,
    given: &Device,
    from: &TenantId,
    now: Timestamp,
) -> Result<()> {
    if tx.device(name).await?.is_some() {
        return Err(Error::conflict(
            "device-exists",
            format!("the device {name} exists; accept it under another name"),
        ));
    }
    let device = Device { class: given.class, hardware: given.hardware.clone(), ..Device::new(name.clone(), now) };
    tx.insert_device(&row_of(&device)?).await?;
    let entry = ctx.done(now, Action::TransferAccepted).device(name).severity(Severity::Notice);
    record(tx, &entry.detail(json!({ "from": from.as_str() }))).await?;
    Ok(())
}
