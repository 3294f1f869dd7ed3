//! Which roots the devices hold: what they say, and telling them that there are others to fetch.

use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_store::{SystemTx, TenantTx};
use fleetward_wire::anchors::{self, AnchorsRequest};

use crate::authority;
use crate::error::{Error, Result};
use crate::{App, Ctx, rotation as renewal};

/// The device holds the root with this fingerprint as an anchor: it said so, or fetched the list as itself.
///
/// # Errors
/// Where the store does not answer.
pub async fn anchor_held(app: &App, tenant: &TenantId, device: &DeviceId, fingerprint: &str) -> Result<()> {
    // Only roots that somebody waits for are of interest: nobody fills the store with made-up ones.
    if !authority::is_awaited(app, fingerprint) {
        return Ok(());
    }
    let (device, fingerprint, now) = (device.clone(), fingerprint.to_owned(), app.now());
    app.write(tenant, "anchor held", move |tx: &mut TenantTx| {
        Box::pin(async move { Ok(tx.hold_anchor(&device, &fingerprint, now).await.map(drop)?) })
    })
    .await
}

/// The device that speaks holds exactly these roots as anchors, by fingerprint: it has verified and kept them. Of interest
/// is the one that is waited for; a device that went back to an older state holds it no more.
///
/// # Errors
/// `Unauthenticated` for whoever is no device; `Invalid` (`anchors`).
pub async fn report_anchors(app: &App, ctx: &Ctx, anchors: Vec<String>) -> Result<()> {
    let (tenant, device) = ctx.device()?;
    if anchors.is_empty() || anchors.len() > limits::ANCHORS_PER_DEVICE {
        return Err(Error::invalid("anchors", format!("1 to {} fingerprints", limits::ANCHORS_PER_DEVICE)));
    }
    let hex =
        |text: &String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !anchors.iter().all(hex) {
        return Err(Error::invalid("anchors", "SHA-256 of certificates, in lower-case hexadecimal"));
    }
    let Some(awaited) = authority::awaited_root(app) else { return Ok(()) };
    let (device, now) = (device.clone(), app.now());
    app.write(tenant, "anchors of device", move |tx: &mut TenantTx| {
        Box::pin(async move {
            if anchors.contains(&awaited) {
                tx.hold_anchor(&device, &awaited, now).await?;
            } else {
                tx.drop_anchor(&device, &awaited).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Tells the device that there are roots to fetch, where it does not hold the one that is waited for: it has just
/// subscribed.
///
/// # Errors
/// Where the store does not answer.
pub async fn tell_again(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    let (Some(links), Some(awaited)) = (app.links(), authority::awaited_root(app)) else { return Ok(()) };
    let of = device.clone();
    let holds = app
        .read(tenant, "anchor of device", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok(tx.holds_anchor(&of, &awaited).await?) })
        })
        .await?;
    if !holds {
        let request = AnchorsRequest { spread_s: 0 };
        links.publish(tenant, anchors::topic(device.as_str()), request.to_bytes().into()).await;
    }
    Ok(())
}

/// Tells all devices that are connected to this server to fetch the roots, once after each change of these; whether it
/// did. A server that starts while one root follows another tells of it too.
///
/// # Errors
/// Where the store does not answer.
pub(crate) async fn tell_of_roots(app: &App) -> Result<bool> {
    let Some(links) = app.links() else { return Ok(false) };
    let Some(_changed) = authority::roots_to_tell(app) else { return Ok(false) };
    let mut after: Option<TenantId> = None;
    loop {
        let from = after.clone();
        let page = app
            .store()
            .system_read("tenants to tell of roots", move |tx: &mut SystemTx| {
                Box::pin(async move {
                    let mut page = Vec::new();
                    for row in tx.tenants(from.as_ref(), limits::PAGE_ROWS).await? {
                        // Any fingerprint: only the devices that count are of interest.
                        let active = tx.enter(&row.id).await?.anchor_count("").await?.active;
                        page.push((row.id, active));
                    }
                    Ok::<_, Error>(page)
                })
            })
            .await?;
        let more = u32::try_from(page.len()).is_ok_and(|rows| rows >= limits::PAGE_ROWS);
        for (tenant, active) in page {
            let spread_s = renewal::ask::spread(usize::try_from(active).unwrap_or(usize::MAX));
            let request = AnchorsRequest { spread_s };
            links.publish(&tenant, anchors::FLEET.to_owned(), request.to_bytes().into()).await;
            after = Some(tenant);
        }
        if !more {
            return Ok(true);
        }
    }
}
