//! Opening the vault: at the first start its keys are made, and those from before there was a hierarchy are taken over.

use fleetward_base::{TenantId, limits};
use fleetward_store::{Of, SystemTx, VaultKeyRow};
use fleetward_vault::{NewKey, Purpose, Vault};

use super::{begin, refresh, row_of};
use crate::App;
use crate::error::{Error, Result};

/// Opens the root key under the seal and with it every key in the store, making those that are not there.
///
/// # Errors
/// `Unavailable` where the seal is out of reach; `Internal` where it is not the one that the root key is under, or, of an
/// installation from before the hierarchy, where the master key is another; the cause says so.
pub async fn open(app: &App) -> Result<()> {
    let fresh = app
        .store()
        .system_read("root key", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.installation().await?.vault_keys().await?.is_empty()) })
        })
        .await?;
    if fresh {
        create(app).await?;
    }
    refresh(app).await?;
    adopt(app).await
}

/// Makes the root key, the key that authenticates and the installation's own.
async fn create(app: &App) -> Result<()> {
    let rng = app.rng().as_ref();
    let legacy = has_master_seals(app).await?;
    let (root, root_key) = app.vault().new_root(rng, 1).await?;
    let seal = app.vault().root_seal();
    let mut rows: Vec<VaultKeyRow> = vec![
        row_of(app, &root, &seal.describe()),
        row_of(app, &Vault::first_anchor(rng, &root_key), &root.key_id),
        row_of(app, &Vault::first_owner_key(rng, &root_key, "").stored, &root.key_id),
    ];
    if let Some(master) = seal.master().filter(|_| legacy) {
        rows.push(row_of(app, &Vault::wrap_master(rng, &root_key, master), &root.key_id));
    }
    app.store()
        .system_write("create root key", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let tx = tx.installation().await?;
                tx.touch_vault().await?;
                // Another server on the same database may have been faster; its keys are the ones then.
                if tx.vault_keys().await?.is_empty() {
                    for row in &rows {
                        tx.insert_vault_key(row).await?;
                    }
                }
                Ok::<_, Error>(())
            })
        })
        .await
}

/// Whether there are seals of a master key, which then must be the one in use.
async fn has_master_seals(app: &App) -> Result<bool> {
    let first = app
        .store()
        .system_read("sealed keys", |tx: &mut SystemTx| {
            Box::pin(
                async move { Ok::<_, Error>(tx.installation().await?.sealed_keys("", 1).await?.into_iter().next()) },
            )
        })
        .await?;
    let Some(row) = first else { return Ok(false) };
    let seal = app.vault().root_seal();
    let other = "the database was sealed by a master key: start once with it, then `fleetward seal migrate`";
    let master = seal.master().ok_or_else(|| Error::internal(other))?;
    Vault::opens_under(master, Purpose::SigningKey, &["", &row.purpose], &row.sealed)?;
    Ok(true)
}

/// Gives each tenant from before the hierarchy a key. What it had sealed goes on to open, and is sealed anew by and by.
async fn adopt(app: &App) -> Result<()> {
    loop {
        let app_in = app.clone();
        let adopted = app
            .store()
            .system_write("adopt tenants", move |tx: &mut SystemTx| {
                Box::pin(async move {
                    let tenants = tx.tenants_without_vault_key(limits::PAGE_ROWS).await?;
                    if tenants.is_empty() {
                        return Ok::<_, Error>(0);
                    }
                    let root = begin(&app_in, tx.installation().await?).await?;
                    for tenant in &tenants {
                        let key = app_in.vault().new_owner_key(app_in.rng().as_ref(), tenant.as_str(), 1)?;
                        tx.enter(tenant).await?.insert_vault_key(&row_of(&app_in, &key.stored, &root)).await?;
                    }
                    Ok(tenants.len())
                })
            })
            .await?;
        if adopted == 0 {
            return Ok(());
        }
        refresh(app).await?;
    }
}

/// Makes a new tenant's key within the transaction that makes the tenant.
///
/// # Errors
/// `Unavailable` while keys are disabled, or where the root key was rotated a moment ago.
pub(crate) async fn keep_first(app: &App, tx: &mut SystemTx, tenant: &TenantId) -> Result<NewKey> {
    let root = begin(app, tx.installation().await?).await?;
    let key = app.vault().new_owner_key(app.rng().as_ref(), tenant.as_str(), 1)?;
    let row = Of { tenant: Some(tenant.clone()), row: row_of(app, &key.stored, &root) };
    if tx.enter(tenant).await?.insert_vault_key(&row.row).await? {
        return Ok(key);
    }
    Err(Error::internal("a tenant that is just made has a key already"))
}
