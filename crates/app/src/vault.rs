//! The installation's keys: made at the first start, followed at every change, rotated, disabled.
//!
//! ```text
//! seal -> root key -> a key for each tenant and for the installation -> what is sealed
//! ```
//! The store has each key wrapped; [`fleetward_vault::Vault`] has them open in memory. A counter in the store goes up with each
//! change, and [`refresh`] looks again when it did: four times a second, and before a signature where that was longer ago than
//! [`limits::VAULT_STALE`](fleetward_base::limits::VAULT_STALE). So a tenant whose keys are disabled is shut on every server
//! within a second, and a server that cannot look is shut too. See `docs/adr/0011-key-hierarchy.md`.

mod hold;
mod open;
mod refused;
mod rewrap;
mod rotate;
mod status;
mod watch;

pub use hold::{disable, enable};
pub(crate) use open::keep_first;
pub use open::open;
pub use refused::tell_refused;
pub use rewrap::{RewrapStatus, rewrap};
pub use rotate::{change_seal, rotate_root, rotate_tenant};
pub use status::{Hold, KeyView, VaultView, tenant_vault, vault};
pub use watch::refresh;
pub(crate) use watch::{Watch, usable};

use fleetward_base::TenantId;
use fleetward_store::{Of, TenantTx, VaultKeyRow};
use fleetward_vault::{KeyKind, StoredKey};

use crate::App;
use crate::error::{Error, Result};

/// A row as the vault takes it.
fn stored(of: &Of<VaultKeyRow>) -> Result<StoredKey> {
    let kind = KeyKind::of(&of.row.kind).ok_or_else(|| Error::internal("a key of an unknown kind"))?;
    Ok(StoredKey {
        owner: of.tenant.as_ref().map_or_else(String::new, TenantId::to_string),
        kind,
        version: of.row.version,
        key_id: of.row.key_id.clone(),
        wrapped: of.row.wrapped.clone(),
        active: of.row.active,
    })
}

/// A new key as the store takes it. `wrapped_by` is the root key's id, or of a root key the seal.
fn row_of(app: &App, key: &StoredKey, wrapped_by: &str) -> VaultKeyRow {
    VaultKeyRow {
        kind: key.kind.as_str().to_owned(),
        version: key.version,
        key_id: key.key_id.clone(),
        wrapped: key.wrapped.clone(),
        wrapped_by: wrapped_by.to_owned(),
        active: key.active,
        created_at: app.now(),
        retired_at: (!key.active).then(|| app.now()),
    }
}

/// Begins a change on the installation's rows: others wait for it, and it goes on only where this server wraps under the root
/// key that the store has as the newest; its id.
async fn begin(app: &App, tx: &mut TenantTx) -> Result<String> {
    tx.touch_vault().await?;
    let ours = app.vault().root_key_id();
    let newest = tx.vault_keys().await?.into_iter().find(|row| row.kind == KeyKind::Root.as_str() && row.active);
    match newest.map(|row| row.key_id) {
        Some(newest) if Some(&newest) == ours.as_ref() => Ok(newest),
        // It was rotated on another server a moment ago.
        _ => Err(Error::Unavailable { what: "the newest root key" }),
    }
}
