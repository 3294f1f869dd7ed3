//! What an operator may see of the keys: names, versions and states, never a key.

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::access::Permission;
use fleetward_store::{SystemTx, VaultHoldRow, VaultKeyRow};

use super::hold::allow;
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// A key by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// `root`, `owner`, `anchor` or `master`.
    pub kind: String,
    pub version: u64,
    pub key_id: String,
    /// Of a root key its seal; of the others the root key's id.
    pub wrapped_by: String,
    pub active: bool,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

/// Why and since when keys are disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub reason: String,
    pub by: String,
    pub at: Timestamp,
}

/// The keys of the installation, or of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultView {
    /// What keeps the root key shut; the installation alone sees it.
    pub seal: Option<String>,
    pub disabled: Option<Hold>,
    pub keys: Vec<KeyView>,
}

/// The installation's keys.
///
/// # Errors
/// `Denied`.
pub async fn vault(app: &App, ctx: &Ctx) -> Result<VaultView> {
    let seal = Some(app.vault().root_seal().describe());
    Ok(VaultView { seal, ..view(app, ctx, None).await? })
}

/// A tenant's keys.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn tenant_vault(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<VaultView> {
    view(app, ctx, Some(tenant)).await
}

async fn view(app: &App, ctx: &Ctx, tenant: Option<&TenantId>) -> Result<VaultView> {
    allow(ctx, tenant, Permission::VaultRead)?;
    let tenant = tenant.cloned();
    let (keys, hold) = app
        .store()
        .system_read("vault view", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let all = tx.installation().await?.vault_hold().await?;
                let Some(tenant) = &tenant else { return Ok((tx.installation().await?.vault_keys().await?, all)) };
                let tx = tx.enter(tenant).await?;
                if tx.own_tenant().await?.is_none() {
                    return Err(Error::NotFound { what: "tenant" });
                }
                let own = tx.vault_hold().await?;
                Ok((tx.vault_keys().await?, own.or(all)))
            })
        })
        .await?;
    Ok(VaultView { seal: None, disabled: hold.map(hold_of), keys: keys.into_iter().map(key_of).collect() })
}

fn hold_of(row: VaultHoldRow) -> Hold {
    Hold { reason: row.reason, by: row.held_by, at: row.held_at }
}

fn key_of(row: VaultKeyRow) -> KeyView {
    let VaultKeyRow { kind, version, key_id, wrapped_by, active, created_at, retired_at, .. } = row;
    KeyView { kind, version, key_id, wrapped_by, active, created_at, retired_at }
}
