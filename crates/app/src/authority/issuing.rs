//! The issuing authority of a tenant: made with the tenant, opened when its first device enrols.

use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::Signer;
use fleetward_store::{SystemTx, TenantTx};
use serde_json::json;

use super::keys::{self, NewKey, Opened};
use super::standing::CURRENT;
use super::{following, offline};
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

/// Makes the tenant's own key and its issuing authority, within the transaction that makes the tenant. Where an offline root
/// has not signed yet, the authority comes when that was imported.
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
    let own = vault::keep_first(app, tx, tenant).await?;
    if !offline::can_sign_tenants(tx).await? {
        if token.is_some() {
            let reason = "a key in a token waits for the offline root: `wardctl ca csr`, `ca sign`, `ca import` first";
            return Err(Error::conflict("authority-awaited", reason));
        }
        return Ok(());
    }
    let key = match token {
        Some(token) => NewKey::in_token(token.reference, token.key)?,
        None => own.new_signing_key(app.rng().as_ref(), KIND).into(),
    };
    first(app, tx, ctx, tenant, &key).await
}

/// Makes the first issuing authority of a tenant, with this key.
pub(super) async fn first(app: &App, tx: &mut SystemTx, ctx: &Ctx, tenant: &TenantId, key: &NewKey) -> Result<()> {
    let fingerprint = following::new_issuing(app, tx, tenant, key, CURRENT).await?;
    let detail = json!({ "name": format!("{tenant} Devices {}", key.mark) });
    let entry = ctx.done(app.now(), Action::TenantCaCreated).subject(fingerprint).severity(Severity::Notice);
    record(tx.enter(tenant).await?, &entry.detail(detail)).await?;
    Ok(())
}

/// The tenant's issuing authority, from memory or opened.
///
/// # Errors
/// `NotFound` where there is no such tenant; `Unavailable` while its keys are disabled, its token is away, or the offline root
/// has not signed yet.
pub(crate) async fn issuing(app: &App, tenant: &TenantId) -> Result<Arc<Issuing>> {
    vault::usable(app, tenant).await?;
    if let Some(known) = app.authorities().issuing.read().get(tenant) {
        return Ok(Arc::clone(known));
    }
    let stored = app
        .read(tenant, "issuing authority", |tx: &mut TenantTx| {
            Box::pin(async move { Ok((keys::stored_authority(tx, KIND).await?, tx.own_tenant().await?.is_some())) })
        })
        .await?;
    let (stored, exists) = stored;
    let Some(stored) = stored else {
        return Err(if exists { offline::awaited() } else { Error::NotFound { what: "tenant" } });
    };
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
