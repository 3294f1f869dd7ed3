//! The walk behind a rotation: wraps and seals again what is under old keys, and destroys old keys that nothing needs.
//!
//! It finds its work in the rows, a page at a time, so it goes on wherever a killed server left it.

use fleetward_base::{TenantId, limits};
use fleetward_core::journal::Entry;
use fleetward_store::{Of, SealedKeyRow, SystemTx, VaultKeyRow};
use fleetward_vault::{KeyKind, OpenError, Purpose, seal_header, sealed_under};

use super::rotate::destroyed;
use super::{begin, refresh, stored};
use crate::App;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::reconcile::or_later;

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewrapStatus {
    /// Keys wrapped under the newest root key.
    pub wrapped: usize,
    /// Private keys sealed under their owner's newest key.
    pub sealed: usize,
    /// Old keys destroyed.
    pub destroyed: usize,
}

/// One turn.
///
/// # Errors
/// Where the store does not answer, or a key does not open.
pub async fn rewrap(app: &App) -> Result<RewrapStatus> {
    refresh(app).await?;
    let rows = app
        .store()
        .system_read("vault keys", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.all_vault_keys().await?) })
        })
        .await?;
    let retired: Vec<_> = rows.iter().filter(|of| !of.row.active).cloned().collect();
    let mut status = RewrapStatus::default();
    if retired.is_empty() {
        return Ok(status);
    }
    status.wrapped = wrap_again(app).await?;
    // A master key's seals may be of anybody; an old owner's key has sealed for its owner alone.
    let everybody = retired.iter().any(|of| of.row.kind == KeyKind::Master.as_str());
    let mut owners: Vec<Option<TenantId>> = if everybody { &rows } else { &retired }
        .iter()
        .filter(|of| of.row.kind != KeyKind::Root.as_str())
        .map(|of| of.tenant.clone())
        .collect();
    owners.dedup();
    for owner in owners {
        let sealed = seal_again(app, owner.clone()).await;
        status.sealed += or_later(app, "rewrap", owner.as_ref(), sealed);
    }
    for of in retired {
        // What could not be sealed again still counts as a use of its key, which stays.
        let owner = of.tenant.clone();
        let destroyed = destroy(app, of).await;
        status.destroyed += usize::from(or_later(app, "end of a key", owner.as_ref(), destroyed));
    }
    refresh(app).await?;
    Ok(status)
}

async fn wrap_again(app: &App) -> Result<usize> {
    let mut wrapped = 0;
    loop {
        let app_in = app.clone();
        let page = app
            .store()
            .system_write("wrap again", move |tx: &mut SystemTx| {
                Box::pin(async move {
                    let root = begin(&app_in, tx.installation().await?).await?;
                    let rows = tx.vault_keys_beside(&root, limits::PAGE_ROWS).await?;
                    for of in &rows {
                        let again = app_in.vault().rewrap(app_in.rng().as_ref(), &stored(of)?)?;
                        let wrapped = again.unwrap_or_else(|| of.row.wrapped.clone());
                        let row = VaultKeyRow { wrapped, wrapped_by: root.clone(), ..of.row.clone() };
                        match &of.tenant {
                            Some(tenant) => tx.enter(tenant).await?,
                            None => tx.installation().await?,
                        }
                        .rewrap_vault_key(&row)
                        .await?;
                    }
                    Ok::<_, Error>(rows.len())
                })
            })
            .await?;
        wrapped += page;
        if page == 0 {
            return Ok(wrapped);
        }
    }
}

async fn seal_again(app: &App, owner: Option<TenantId>) -> Result<usize> {
    let name = owner.as_ref().map_or_else(String::new, TenantId::to_string);
    if !app.vault().is_usable(&name) {
        return Ok(0);
    }
    let (mut after, mut sealed) = (String::new(), 0);
    loop {
        let page = sealed_page(app, owner.clone(), after).await?;
        let Some(last) = page.last() else { break };
        after = last.purpose.clone();
        for row in page {
            sealed += usize::from(seal_one(app, owner.clone(), &name, row).await?);
        }
    }
    if let Some(tenant) = owner {
        sealed += usize::from(crate::authority::reseal_credential(app, &tenant).await?);
        sealed += crate::access_keys::reseal_access_keys(app, &tenant).await?;
        sealed += crate::provisioning::templates::reseal_hooks(app, &tenant).await?;
    }
    Ok(sealed)
}

async fn sealed_page(app: &App, owner: Option<TenantId>, after: String) -> Result<Vec<SealedKeyRow>> {
    app.store()
        .system_read("sealed keys", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = match &owner {
                    Some(tenant) => tx.enter(tenant).await?,
                    None => tx.installation().await?,
                };
                Ok::<_, Error>(tx.sealed_keys(&after, limits::PAGE_ROWS).await?)
            })
        })
        .await
}

async fn seal_one(app: &App, owner: Option<TenantId>, name: &str, row: SealedKeyRow) -> Result<bool> {
    let newest = app.vault().key_id(name)?;
    if sealed_under(&row.sealed).is_some_and(|id| id == newest) {
        return Ok(false);
    }
    let again = match app.vault().reseal(app.rng().as_ref(), Purpose::SigningKey, &[name, &row.purpose], &row.sealed) {
        Ok(Some(again)) => again,
        Ok(None) => return Ok(false),
        // Of another purpose, or damaged: it stays as it is, and the key that it is under stays with it.
        Err(OpenError::Broken | OpenError::Malformed) => {
            tracing::debug!(key = row.purpose, "is not sealed anew");
            return Ok(false);
        }
        Err(error) => return Err(error.into()),
    };
    app.store()
        .system_write("seal again", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = match &owner {
                    Some(tenant) => tx.enter(tenant).await?,
                    None => tx.installation().await?,
                };
                Ok::<_, Error>(tx.reseal_key(&row.purpose, &row.sealed, &again).await?)
            })
        })
        .await
}

/// Destroys a retired key, if nothing is under it and no server can still be using it.
async fn destroy(app: &App, of: Of<VaultKeyRow>) -> Result<bool> {
    let kind = stored(&of)?.kind;
    let rests = of.row.retired_at.is_some_and(|at| app.now().since(at) >= limits::VAULT_RETIRED_KEPT);
    if !rests || kind == KeyKind::Anchor {
        return Ok(false);
    }
    let (app_in, entry): (App, Entry) = (app.clone(), destroyed(app, &of.row));
    app.store()
        .system_write("destroy key", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let root = begin(&app_in, tx.installation().await?).await?;
                let needed = match seal_header(kind, &of.row.key_id) {
                    Some(header) => tx.seals_under(&header).await? > 0,
                    None => tx.vault_keys_beside(&root, 1).await?.iter().any(|key| key.row.wrapped_by == of.row.key_id),
                };
                if needed {
                    return Ok::<_, Error>(false);
                }
                let tx = match &of.tenant {
                    Some(tenant) => tx.enter(tenant).await?,
                    None => tx.installation().await?,
                };
                let gone = tx.delete_vault_key(&of.row.kind, of.row.version).await?;
                if gone {
                    record(tx, &entry).await?;
                }
                Ok(gone)
            })
        })
        .await
}
