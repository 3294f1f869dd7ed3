//! Reading the signed lists.

use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_pki::crl::shards;
use fleetward_store::{CrlRow, SystemTx, TenantTx};

use super::{Ca, authority, list_url, refresh};
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
