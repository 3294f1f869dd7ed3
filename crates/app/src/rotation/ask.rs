//! Asking devices to renew now.

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_store::{RenewalRequestRow, TenantTx};
use fleetward_wire::renew::{RenewRequest, topic};
use serde_json::json;

use crate::error::{Error, Result, check_note};
use crate::journal::record;
use crate::{App, Ctx};

/// How many devices are asked in one transaction.
const AT_ONCE: usize = 500;

/// What devices are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// In a word or sentence.
    pub reason: String,
    /// An emergency: the old certificate gets no grace once the new one was used.
    pub at_once: bool,
}

/// Asks these devices to renew their certificates now; how many were asked. Those that are not there are passed over. Each
/// is told at once where it is connected, and else when it is back; one that was asked before is asked again.
///
/// # Errors
/// `Invalid` for a reason that is too long; `Denied`, `NotFound`.
pub async fn ask_to_renew(app: &App, ctx: &Ctx, tenant: &TenantId, devices: &[DeviceId], ask: Ask) -> Result<usize> {
    ctx.allow(tenant, Permission::RotationCreate)?;
    check_note("reason", &ask.reason, limits::ROLLOUT_NOTE_BYTES)?;
    let spread_s = spread(devices.len());
    let mut asked = 0;
    for some in devices.chunks(AT_ONCE) {
        let (some, ctx_in, ask_in, now) = (some.to_vec(), ctx.clone(), ask.clone(), app.now());
        let rows = app
            .write(tenant, "ask to renew", move |tx| {
                Box::pin(async move {
                    let mut rows = Vec::new();
                    for device in some {
                        if tx.device(&device).await?.is_some() {
                            rows.push(put(tx, &ctx_in, &device, &ask_in, None, now).await?);
                        }
                    }
                    Ok(rows)
                })
            })
            .await?;
        asked += rows.len();
        tell(app, tenant, &rows, spread_s).await;
    }
    Ok(asked)
}

/// As [`ask_to_renew`] for one device, which must be there.
///
/// # Errors
/// `NotFound`; as for [`ask_to_renew`].
pub async fn ask_device_to_renew(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId, ask: Ask) -> Result<()> {
    match ask_to_renew(app, ctx, tenant, std::slice::from_ref(device), ask).await? {
        0 => Err(Error::NotFound { what: "device" }),
        _ => Ok(()),
    }
}

/// Writes down that a device is asked. `campaign`: for which campaign.
pub(crate) async fn put(
    tx: &mut TenantTx,
    ctx: &Ctx,
    device: &DeviceId,
    ask: &Ask,
    campaign: Option<&str>,
    now: Timestamp,
) -> Result<RenewalRequestRow> {
    let row = RenewalRequestRow {
        device: device.clone(),
        id: ctx.request_id.to_string(),
        reason: ask.reason.clone(),
        at_once: ask.at_once,
        asked_by: ctx.principal.actor().name,
        asked_at: now,
    };
    tx.put_renewal_request(&row).await?;
    let mut entry = ctx.done(now, Action::RenewalAsked).device(device);
    if let Some(campaign) = campaign {
        entry = entry.subject(campaign);
    }
    let detail = json!({ "request": row.id, "reason": row.reason, "at_once": row.at_once });
    record(tx, &entry.detail(detail)).await?;
    Ok(row)
}

/// Tells the devices that are connected.
pub(crate) async fn tell(app: &App, tenant: &TenantId, rows: &[RenewalRequestRow], spread_s: u32) {
    let Some(links) = app.links() else { return };
    for row in rows {
        let request =
            RenewRequest { request: row.id.clone(), reason: row.reason.clone(), at_once: row.at_once, spread_s };
        links.publish(tenant, topic(row.device.as_str()), request.to_bytes().into()).await;
    }
}

/// Tells a device once more that it is to renew, where it is: it has just subscribed.
///
/// # Errors
/// Where the store does not answer.
pub async fn tell_again(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    let device = device.clone();
    let asked = app
        .read(tenant, "renewal request", move |tx| Box::pin(async move { Ok(tx.renewal_request(&device).await?) }))
        .await?;
    tell(app, tenant, asked.as_slice(), 0).await;
    Ok(())
}

/// Seconds over which so many devices are spread, at half of the pace that their renewals are served at.
pub(crate) fn spread(devices: usize) -> u32 {
    let devices = u32::try_from(devices).unwrap_or(u32::MAX);
    (devices.saturating_mul(2) / limits::RENEWALS_PER_TENANT_AND_SECOND).min(3600)
}
