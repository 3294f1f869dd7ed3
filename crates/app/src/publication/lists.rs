//! Reading the signed lists.

use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_pki::Serial;
use fleetward_pki::crl::shards;
use fleetward_store::{CrlRow, SystemTx, TenantTx};

use super::{Ca, authority, list_url, look_again, refresh};
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// A list as it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedList {
    pub der: Vec<u8>,
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
}

/// What is known of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListView {
    /// The fingerprint of its authority.
    pub authority: String,
    /// Empty for the whole list.
    pub shard: String,
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    pub entries: u64,
    pub url: Option<String>,
}

/// The list of an authority, or one shard of it. Anybody may ask.
///
/// # Errors
/// `NotFound` where there is no such authority or shard.
pub async fn list(app: &App, name: &str, shard: Option<&str>) -> Result<SignedList> {
    let absent = || Error::NotFound { what: "list" };
    if shard.is_some_and(|shard| !shards::is_label(shard)) {
        return Err(absent());
    }
    let ca = authority(app, name).await?;
    let row = read(app, &ca, shard.unwrap_or_default().to_owned()).await?.ok_or_else(absent)?;
    let CrlRow { der, number, this_update, next_update, .. } = row;
    Ok(SignedList { der, number, this_update, next_update })
}

/// The list (DER) on which the certificate with this serial number would stand, of an authority of the tenant or of one
/// above them, by its Name. The whole list, or where that has more than `most` bytes the shard of the certificate; none
/// where no authority of ours has this name.
///
/// # Errors
/// `TooLarge` where it has more bytes all the same; `Unavailable` where none was signed yet.
pub(crate) async fn list_of_issuer(
    app: &App,
    tenant: &TenantId,
    issuer: &[u8],
    serial: &Serial,
    most: usize,
) -> Result<Option<Vec<u8>>> {
    let named = || -> Vec<Arc<Ca>> {
        let ours = |ca: &Arc<Ca>| ca.tenant.is_none() || ca.tenant.as_ref() == Some(tenant);
        app.publication().all().into_iter().filter(ours).filter(|ca| ca.certificate.subject == issuer).collect()
    };
    let mut found = named();
    if found.is_empty() {
        look_again(app).await?;
        found = named();
    }
    // One name may have several certificates: its lists are by certificate, and the registry says which one signed.
    let wanted = serial.to_string();
    let signer = app.read(tenant, "who signed it", {
        let serial = wanted.clone();
        move |tx: &mut TenantTx| Box::pin(async move { Ok(tx.certificate(&serial).await?.map(|row| row.authority)) })
    });
    let signer = signer.await?;
    let of_signer = found.iter().find(|ca| Some(&ca.fingerprint) == signer.as_ref());
    let newest = || found.iter().max_by_key(|ca| (ca.certificate.not_before, &ca.fingerprint));
    let Some(ca) = of_signer.or_else(newest) else { return Ok(None) };
    let digits = ca.tenant.as_ref().map_or(0, |tenant| app.publication().digits(tenant));
    for cut in [0, digits] {
        let row = read(app, ca, shards::label(&wanted, cut).to_owned()).await?;
        let row = row.ok_or(Error::Unavailable { what: "the list of revoked certificates" })?;
        if row.der.len() <= most {
            return Ok(Some(row.der));
        }
    }
    Err(Error::TooLarge { what: "the list of revoked certificates", limit: most as u64 })
}

async fn read(app: &App, ca: &Arc<Ca>, label: String) -> Result<Option<CrlRow>> {
    let fingerprint = ca.fingerprint.clone();
    match &ca.tenant {
        Some(tenant) => {
            app.read(tenant, "list", move |tx: &mut TenantTx| {
                Box::pin(async move { Ok(tx.crl(&fingerprint, &label).await?) })
            })
            .await
        }
        None => {
            app.store()
                .system_read("list", move |tx: &mut SystemTx| {
                    Box::pin(async move { Ok(tx.installation().await?.crl(&fingerprint, &label).await?) })
                })
                .await
        }
    }
}

/// All lists of the tenant's authorities.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn lists(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<Vec<ListView>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    refresh(app).await?;
    let mut views = Vec::new();
    for ca in app.publication().all().into_iter().filter(|ca| ca.tenant.as_ref() == Some(tenant)) {
        let fingerprint = ca.fingerprint.clone();
        let states = app
            .read(tenant, "lists", move |tx: &mut TenantTx| {
                Box::pin(async move { Ok(tx.crl_states(&fingerprint).await?) })
            })
            .await?;
        let base = app.settings()?.pki_url.as_deref();
        views.extend(states.into_iter().map(|state| ListView {
            authority: ca.fingerprint.clone(),
            url: base.map(|base| list_url(base, ca.mark(), &state.label)),
            shard: state.label,
            number: state.number,
            this_update: state.this_update,
            next_update: state.next_update,
            entries: state.entries,
        }));
    }
    Ok(views)
}
