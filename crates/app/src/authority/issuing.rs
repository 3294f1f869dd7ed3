//! The issuing authority of a tenant: made with the tenant, opened when its first device enrols.

use std::sync::Arc;

use fleetward_base::TenantId;
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::ca::{self, Vouches};
use fleetward_pki::{Serial, Signer};
use fleetward_store::{SystemTx, TenantTx};
use serde_json::json;

use super::installation::{AUTHORITY_LIFE, ROOT};
use super::keys::{self, Opened};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

pub(super) const KIND: &str = "issuing";

/// An opened issuing authority.
pub(crate) type Issuing = Opened;

/// Makes the issuing authority of a tenant within the transaction that makes the tenant.
///
/// # Errors
/// `Internal` where the root does not open.
pub(crate) async fn create_issuing(app: &App, tx: &mut SystemTx, ctx: &Ctx, tenant: &TenantId) -> Result<()> {
    let now = app.now();
    let stored = keys::stored_authority(tx.installation().await?, ROOT).await?;
    let (root, root_key) = stored.ok_or(Error::Unavailable { what: "the root authority" })?;
    let root = keys::open(app, None, &root, &root_key)?;
    let key = keys::new_key(app, Some(tenant), KIND);
    let name = format!("{tenant} Devices {}", key.mark);
    let serial = Serial::generate(app.rng().as_ref());
    let validity = keys::lasting(now, AUTHORITY_LIFE);
    let subject = (Some(tenant.as_str()), name.as_str());
    let issued = ca::intermediate(&root.issuer()?, subject, Vouches::Devices, serial, validity, key.key.public_spki())
        .map_err(Error::internal)?;
    let tx = tx.enter(tenant).await?;
    keys::store_authority(tx, KIND, &key, &issued, now).await?;
    let detail = json!({ "name": name, "not_after": issued.validity.not_after.to_string() });
    let entry = ctx.done(now, Action::TenantCaCreated).subject(&issued.fingerprint).severity(Severity::Notice);
    record(tx, &entry.detail(detail)).await?;
    Ok(())
}

/// The tenant's issuing authority, from memory or opened.
///
/// # Errors
/// `NotFound` where there is no such tenant.
pub(crate) async fn issuing(app: &App, tenant: &TenantId) -> Result<Arc<Issuing>> {
    if let Some(known) = app.authorities().issuing.read().get(tenant) {
        return Ok(Arc::clone(known));
    }
    let stored = app
        .read(tenant, "issuing authority", |tx: &mut TenantTx| {
            Box::pin(async move { keys::stored_authority(tx, KIND).await })
        })
        .await?;
    let (authority, key) = stored.ok_or(Error::NotFound { what: "tenant" })?;
    let opened = Arc::new(keys::open(app, Some(tenant), &authority, &key)?);
    app.authorities().issuing.write().insert(tenant.clone(), Arc::clone(&opened));
    Ok(opened)
}
