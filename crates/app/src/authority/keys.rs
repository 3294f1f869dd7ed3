//! Authorities as the store has them: a sealed key, and a certificate that names it.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{TenantId, Timestamp};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Issued, Signer, SoftKey, Validity};
use fleetward_store::{AuthorityRow, SealedKeyRow, SystemTx, TenantTx};
use fleetward_vault::NewSigningKey;

use super::standing::{CURRENT, with_standing};
use crate::error::{Error, Result};
use crate::{App, vault};

/// Authorities are valid from this long before they are made, for devices whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// How `key_purpose` names a key that lies in a token (RFC 7512).
const IN_TOKEN: &str = "pkcs11:";

/// Where an authority's private key is.
pub(crate) enum IssuerKey {
    /// Sealed in the store, opened for as long as it is in use.
    Sealed(SoftKey),
    /// In a PKCS#11 token, which it never leaves. Signing waits for the token.
    Token(Arc<dyn Signer>),
}

impl IssuerKey {
    pub(crate) fn signer(&self) -> &dyn Signer {
        match self {
            Self::Sealed(key) => key,
            Self::Token(key) => key.as_ref(),
        }
    }
}

/// A certificate of an authority with its key: what signs.
pub(crate) struct Opened {
    pub(crate) certificate: Certificate,
    pub(crate) key: IssuerKey,
}

impl Opened {
    /// What signs, for code that may wait for a token; others go by [`Self::sign`].
    pub(crate) fn issuer(&self) -> Result<Issuer<'_>> {
        Issuer::new(&self.certificate, self.key.signer()).map_err(Error::internal)
    }

    /// Has `work` sign: here where the key is in memory, on a thread that may wait where it is in a token.
    pub(crate) async fn sign<T, F>(self: &Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Issuer<'_>) -> T + Send + 'static,
    {
        match &self.key {
            IssuerKey::Sealed(_) => Ok(work(&self.issuer()?)),
            IssuerKey::Token(_) => {
                let opened = Arc::clone(self);
                tokio::task::spawn_blocking(move || Ok(work(&opened.issuer()?))).await.map_err(Error::internal)?
            }
        }
    }
}

/// A key that was just made for an authority, and the row that keeps it, if it is not in a token.
pub(super) struct NewKey {
    pub(super) key: IssuerKey,
    /// What `key_purpose` says.
    pub(super) reference: String,
    /// Tells keys of one kind apart, in names of authorities.
    pub(super) mark: String,
    sealed: Option<Vec<u8>>,
}

impl NewKey {
    /// A key in a token; `reference` is its RFC 7512 URI.
    pub(super) fn in_token(reference: String, key: Arc<dyn Signer>) -> Result<Self> {
        let id = fleetward_pki::issue::key_id(key.public_spki()).map_err(Error::internal)?;
        let mark = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { key: IssuerKey::Token(key), reference, mark, sealed: None })
    }
}

impl From<NewSigningKey> for NewKey {
    fn from(made: NewSigningKey) -> Self {
        Self { key: IssuerKey::Sealed(made.key), reference: made.name, mark: made.mark, sealed: Some(made.sealed) }
    }
}

/// A new key of the installation.
pub(super) fn new_key(app: &App, kind: &str) -> Result<NewKey> {
    Ok(app.vault().new_signing_key(app.rng().as_ref(), owner(None), kind)?.into())
}

/// A new key of a tenant.
pub(super) fn new_key_of(app: &App, tenant: &TenantId, kind: &str) -> Result<NewKey> {
    Ok(app.vault().new_signing_key(app.rng().as_ref(), owner(Some(tenant)), kind)?.into())
}

pub(super) fn lasting(now: Timestamp, life: Duration) -> Validity {
    Validity { not_before: now.minus(BACKDATE), not_after: now.plus(life) }
}

/// Keeps an authority that was made; `tx` is of its tenant, or of the installation.
pub(super) async fn store_authority(
    tx: &mut TenantTx,
    kind: &str,
    key: &NewKey,
    issued: &Issued,
    now: Timestamp,
) -> Result<()> {
    keep_key(tx, key, now).await?;
    let row = AuthorityRow {
        fingerprint: issued.fingerprint.clone(),
        kind: kind.to_owned(),
        der: issued.der.clone(),
        key_purpose: key.reference.clone(),
        not_after: issued.validity.not_after,
        created_at: now,
    };
    tx.put_authority(&row).await?;
    Ok(())
}

/// Keeps a key that was made, before there is a certificate for it.
pub(super) async fn keep_key(tx: &mut TenantTx, key: &NewKey, now: Timestamp) -> Result<()> {
    if let Some(sealed) = key.sealed.clone() {
        let (purpose, public) = (key.reference.clone(), key.key.signer().public_spki().to_vec());
        tx.put_sealed_key(&SealedKeyRow { purpose, sealed, public, created_at: now }).await?;
    }
    Ok(())
}

/// Whether its key is not here at all: it is kept offline.
pub(super) fn is_elsewhere(row: &AuthorityRow) -> bool {
    row.key_purpose.is_empty()
}

/// Whether its key lies in a token.
pub(super) fn is_in_token(row: &AuthorityRow) -> bool {
    row.key_purpose.starts_with(IN_TOKEN)
}

/// An authority as the store has it; without a sealed key its key lies in a token, or is kept
/// offline.
pub(super) type Stored = (AuthorityRow, Option<SealedKeyRow>);

/// The authority of this kind that signs, with its sealed key; the oldest where there are several.
pub(super) async fn stored_authority(tx: &mut TenantTx, kind: &str) -> Result<Option<Stored>> {
    let oldest = with_standing(tx, kind, CURRENT).await?.into_iter().next();
    let Some(authority) = oldest else { return Ok(None) };
    if is_in_token(&authority) || is_elsewhere(&authority) {
        return Ok(Some((authority, None)));
    }
    let key = tx.sealed_key(&authority.key_purpose).await?;
    let key = key.ok_or_else(|| Error::internal("an authority without its key"))?;
    Ok(Some((authority, Some(key))))
}

/// Opens what [`stored_authority`] found, whose key is sealed.
pub(super) fn open(app: &App, tenant: Option<&TenantId>, stored: &Stored) -> Result<Opened> {
    let (row, key) = stored;
    let key = key.as_ref().ok_or_else(|| Error::internal("the key is not in the store"))?;
    let key = app.vault().signer(owner(tenant), &key.purpose, &key.sealed)?;
    finish(row, IssuerKey::Sealed(key))
}

/// As [`open`], wherever the key is.
pub(super) async fn open_any(app: &App, tenant: Option<&TenantId>, stored: &Stored) -> Result<Opened> {
    if stored.1.is_some() {
        return open(app, tenant, stored);
    }
    if is_elsewhere(&stored.0) {
        return Err(super::offline::awaited());
    }
    let tokens = app.tokens().ok_or(Error::Unavailable { what: "the token with the authority's key" })?;
    let key = tokens.signer(&stored.0.key_purpose).await?;
    finish(&stored.0, IssuerKey::Token(key))
}

fn finish(row: &AuthorityRow, key: IssuerKey) -> Result<Opened> {
    let certificate = Certificate::parse(&row.der).map_err(Error::internal)?;
    let opened = Opened { certificate, key };
    opened.issuer()?;
    Ok(opened)
}

/// The authority of this fingerprint, opened.
///
/// # Errors
/// `NotFound` where there is none such with a key of ours; `Unavailable` while the tenant's keys are disabled.
pub(crate) async fn opened(app: &App, tenant: Option<&TenantId>, fingerprint: &str) -> Result<Arc<Opened>> {
    // A key in a token is behind no seal that says so.
    if let Some(tenant) = tenant {
        vault::usable(app, tenant).await?;
    }
    let wanted = fingerprint.to_owned();
    let found = match tenant {
        Some(tenant) => {
            app.read(tenant, "authority", move |tx: &mut TenantTx| {
                Box::pin(async move { by_fingerprint(tx, &wanted).await })
            })
            .await?
        }
        None => {
            app.store()
                .system_read("authority", move |tx: &mut SystemTx| {
                    Box::pin(async move { by_fingerprint(tx.installation().await?, &wanted).await })
                })
                .await?
        }
    };
    let stored = found.ok_or(Error::NotFound { what: "authority" })?;
    open_any(app, tenant, &stored).await.map(Arc::new)
}

async fn by_fingerprint(tx: &mut TenantTx, fingerprint: &str) -> Result<Option<Stored>> {
    let rows = tx.authorities().await?;
    let Some(row) = rows.into_iter().find(|row| row.fingerprint == fingerprint) else { return Ok(None) };
    if is_in_token(&row) {
        return Ok(Some((row, None)));
    }
    Ok(tx.sealed_key(&row.key_purpose).await?.map(|key| (row, Some(key))))
}

/// Whose a sealed key is; the installation's own has no name.
fn owner(tenant: Option<&TenantId>) -> &str {
    tenant.map_or("", TenantId::as_str)
}
