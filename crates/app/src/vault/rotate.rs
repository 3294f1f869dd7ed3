//! Rotation: a new version seals from now on, the ones before it open until nothing needs them.
//!
//! Each change is one transaction, so a server that is killed left all or nothing of it; [`super::rewrap`] does the rest, on
//! whichever server is up. No data is encrypted anew: wrapped keys are wrapped again.

use std::sync::Arc;

use fleetward_base::TenantId;
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Entry, Severity};
use fleetward_store::{Of, SystemTx, TenantTx, VaultKeyRow};
use fleetward_vault::{KeyKind, RootSeal};
use serde_json::json;

use super::{begin, refresh, row_of, stored};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// Gives the tenant a new key.
///
/// # Errors
/// `NotFound`, `Denied`; `Unavailable` while its keys are disabled.
pub async fn rotate_tenant(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<()> {
    ctx.allow(tenant, Permission::VaultRotate)?;
    let (app_in, ctx_in, tenant) = (app.clone(), ctx.clone(), tenant.clone());
    app.store()
        .system_write("rotate tenant key", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let root = begin(&app_in, tx.installation().await?).await?;
                let tx = tx.enter(&tenant).await?;
                if tx.own_tenant().await?.is_none() {
                    return Err(Error::NotFound { what: "tenant" });
                }
                let version = next_version(tx, KeyKind::Owner).await?;
                let key = app_in.vault().new_owner_key(app_in.rng().as_ref(), tenant.as_str(), version)?.stored;
                add(tx, KeyKind::Owner, &row_of(&app_in, &key, &root)).await?;
                let entry = ctx_in.done(app_in.now(), Action::VaultRotated).severity(Severity::Notice);
                record(tx, &entry.detail(json!({ "key": "tenant", "version": version, "key_id": key.key_id }))).await?;
                Ok(())
            })
        })
        .await?;
    refresh(app).await
}

/// Makes a new root key, and a new key of the installation's own under it.
///
/// # Errors
/// `Denied`; `Unavailable` where the seal is out of reach; `Conflict` (`seal-changed`) where the root key was put under
/// another seal since this server started, (`rotated`) where somebody else rotates just now.
pub async fn rotate_root(app: &App, ctx: &Ctx) -> Result<()> {
    ctx.allow_installation(Permission::VaultRotate)?;
    refresh(app).await?;
    let newest = roots(app).await?.into_iter().max_by_key(|row| row.version);
    let newest = newest.ok_or(Error::Unavailable { what: "the root key" })?;
    let of = Of { tenant: None, row: newest.clone() };
    app.vault().proves(&stored(&of)?).await.map_err(|error| {
        let reason =
            format!("restart the server with the seal that the root key is under ({}): {error}", newest.wrapped_by);
        Error::conflict("seal-changed", reason)
    })?;
    let version = newest.version + 1;
    let (root, _) = app.vault().new_root(app.rng().as_ref(), version).await?;
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    let row = row_of(app, &root, &app.vault().root_seal().describe());
    app.store()
        .system_write("rotate root key", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = tx.installation().await?;
                let before = begin(&app_in, tx).await?;
                if next_version(tx, KeyKind::Root).await? != version {
                    return Err(Error::conflict("rotated", "the root key was rotated by somebody else just now"));
                }
                // Still under the root key before: the walk wraps it again like every other.
                let own = next_version(tx, KeyKind::Owner).await?;
                let own = app_in.vault().new_owner_key(app_in.rng().as_ref(), "", own)?.stored;
                add(tx, KeyKind::Owner, &row_of(&app_in, &own, &before)).await?;
                add(tx, KeyKind::Root, &row).await?;
                let entry = ctx_in.done(app_in.now(), Action::VaultRotated).severity(Severity::Notice);
                record(tx, &entry.detail(json!({ "key": "root", "version": version, "key_id": row.key_id }))).await?;
                Ok(())
            })
        })
        .await?;
    refresh(app).await
}

/// Puts the root key under another seal: one wrapped key changes, in one transaction. Running servers go on with the root
/// key that they have; at their next start they need the new seal.
///
/// # Errors
/// Where either seal does not do its work. Nothing has changed then.
pub async fn change_seal(app: &App, to: Arc<dyn RootSeal>) -> Result<()> {
    refresh(app).await?;
    let mut rows = roots(app).await?;
    for row in &mut rows {
        let key = stored(&Of { tenant: None, row: row.clone() })?;
        row.wrapped = app.vault().rewrap_root(&key, to.as_ref()).await?;
        row.wrapped_by = to.describe();
    }
    let versions: Vec<u64> = rows.iter().map(|row| row.version).collect();
    let entry = app.system("seal").done(app.now(), Action::VaultSealChanged).severity(Severity::Warning);
    let entry = entry.detail(json!({ "from": app.vault().root_seal().describe(), "to": to.describe() }));
    app.store()
        .system_write("change seal", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = tx.installation().await?;
                tx.touch_vault().await?;
                let now = tx.vault_keys().await?.into_iter().filter(|row| row.kind == KeyKind::Root.as_str());
                if now.map(|row| row.version).collect::<Vec<_>>() != versions {
                    return Err(Error::conflict("rotated", "the root key was rotated meanwhile; try again"));
                }
                for row in &rows {
                    tx.rewrap_vault_key(row).await?;
                }
                record(tx, &entry).await.map(drop)
            })
        })
        .await
}

async fn roots(app: &App) -> Result<Vec<VaultKeyRow>> {
    let rows = app
        .store()
        .system_read("root keys", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.installation().await?.vault_keys().await?) })
        })
        .await?;
    Ok(rows.into_iter().filter(|row| row.kind == KeyKind::Root.as_str()).collect())
}

async fn next_version(tx: &mut TenantTx, kind: KeyKind) -> Result<u64> {
    let rows = tx.vault_keys().await?;
    let newest = rows.iter().filter(|row| row.kind == kind.as_str()).map(|row| row.version).max();
    Ok(newest.unwrap_or(0) + 1)
}

/// The new version seals, those before it open.
async fn add(tx: &mut TenantTx, kind: KeyKind, row: &VaultKeyRow) -> Result<()> {
    if !tx.insert_vault_key(row).await? {
        return Err(Error::conflict("rotated", "the key was rotated by somebody else just now"));
    }
    tx.retire_vault_keys(kind.as_str(), row.version, row.created_at).await?;
    Ok(())
}

/// What became of an old key.
pub(super) fn destroyed(app: &App, row: &VaultKeyRow) -> Entry {
    let entry = app.system("vault").done(app.now(), Action::VaultKeyDestroyed).severity(Severity::Notice);
    entry.detail(json!({ "key": row.kind, "version": row.version, "key_id": row.key_id }))
}
