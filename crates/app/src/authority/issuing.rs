//! The issuing authority of a tenant: made with the tenant, opened when its first device enrols.

use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::ca::{self, Vouches};
use fleetward_pki::{Serial, Signer};
use fleetward_store::{SystemTx, TenantTx};
use serde_json::json;

use super::installation::{AUTHORITY_LIFE, ROOT};
use super::keys::{self, NewKey, Opened};

use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, vault};

pub(super) const KIND: &str = "issuing";

/// An opened issuing authority.
pub(crate) type Issuing = Opened;

/// A key in a token that a tenant's issuing authority is to have.
pub(crate) struct TokenKey {
    /// RFC 7512 URI.
    pub(crate) reference: String,
    pub(crate) key: Arc<dyn Signer>,
}

/// Makes a key pair in the token that the URI names, for an authority to come.
///
/// # Errors
/// `Invalid` where it names no new key; `Unavailable` where the token is away or the server knows of none.
pub(crate) async fn key_in_token(app: &App, uri: &str) -> Result<TokenKey> {
    let unknown = || Error::invalid("issuing_key", "the server was not told of a token (--pkcs11-module)");
    let key = app.tokens().ok_or_else(unknown)?.generate(uri).await?;
    Ok(TokenKey { reference: uri.to_owned(), key })
}

/// Makes the tenant's own key and its issuing authority, within the transaction that makes the tenant.
///
/// # Errors
/// `Internal` where the root does not open; `Unavailable` while keys are disabled.
pub(crate) async fn create_issuing(
    app: &App,
    tx: &mut SystemTx,
    ctx: &Ctx,
    tenant: &TenantId,
    token: Option<TokenKey>,
) -> Result<()> {
    let now = app.now();
    let own = vault::keep_first(app, tx, tenant).await?;
    let stored = keys::stored_authority(tx.installation().await?, ROOT).await?;
    let root = keys::open(app, None, &stored.ok_or(Error::Unavailable { what: "the root authority" })?)?;
    let key = match token {
        Some(token) => NewKey::in_token(token.reference, token.key)?,
        None => own.new_signing_key(app.rng().as_ref(), KIND).into(),
    };
    let name = format!("{tenant} Devices {}", key.mark);
    let serial = Serial::generate(app.rng().as_ref());
    let validity = keys::lasting(now, AUTHORITY_LIFE);
    let subject = (Some(tenant.as_str()), name.as_str());
    let issued =
        ca::intermediate(&root.issuer()?, subject, Vouches::Devices, serial, validity, key.key.signer().public_spki())
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
/// `NotFound` where there is no such tenant; `Unavailable` while its keys are disabled or its token is away.
pub(crate) async fn issuing(app: &App, tenant: &TenantId) -> Result<Arc<Issuing>> {
    vault::usable(app, tenant).await?;
    if let Some(known) = app.authorities().issuing.read().get(tenant) {
        return Ok(Arc::clone(known));
    }
    let stored = app
        .read(tenant, "issuing authority", |tx: &mut TenantTx| {
            Box::pin(async move { keys::stored_authority(tx, KIND).await })
        })
        .await?;
    let stored = stored.ok_or(Error::NotFound { what: "tenant" })?;
    let opened = Arc::new(keys::open_any(app, Some(tenant), &stored).await?);
    app.authorities().issuing.write().insert(tenant.clone(), Arc::clone(&opened));
    Ok(opened)
}

/// When the tenant's issuing authority ends.
///
/// # Errors
/// `NotFound` where there is no such tenant; `Internal` where it does not open.
pub(crate) async fn issuing_ends(app: &App, tenant: &TenantId) -> Result<Timestamp> {
    Ok(issuing(app, tenant).await?.certificate.not_after)
}
