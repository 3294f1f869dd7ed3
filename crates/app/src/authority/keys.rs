//! Authorities as the store has them: a sealed key, and a certificate that names it.

use std::time::Duration;

use fleetward_base::{TenantId, Timestamp};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Issued, Signer, SoftKey, Validity};
use fleetward_store::{AuthorityRow, SealedKeyRow, TenantTx};
use fleetward_vault::NewSigningKey;

use crate::App;
use crate::error::{Error, Result};

/// Authorities are valid from this long before they are made, for devices whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// A certificate of an authority with its key: what signs.
pub(crate) struct Opened {
    pub(crate) certificate: Certificate,
    pub(crate) key: SoftKey,
}

impl Opened {
    pub(crate) fn issuer(&self) -> Result<Issuer<'_>> {
        Issuer::new(&self.certificate, &self.key).map_err(Error::internal)
    }
}

pub(super) fn new_key(app: &App, tenant: Option<&TenantId>, kind: &str) -> NewSigningKey {
    app.vault().new_signing_key(app.rng().as_ref(), owner(tenant), kind)
}

pub(super) fn lasting(now: Timestamp, life: Duration) -> Validity {
    Validity { not_before: now.minus(BACKDATE), not_after: now.plus(life) }
}

/// Keeps an authority that was made; `tx` is of its tenant, or of the installation.
pub(super) async fn store_authority(
    tx: &mut TenantTx,
    kind: &str,
    key: &NewSigningKey,
    issued: &Issued,
    now: Timestamp,
) -> Result<()> {
    let public = key.key.public_spki().to_vec();
    let (purpose, sealed) = (key.name.clone(), key.sealed.clone());
    tx.put_sealed_key(&SealedKeyRow { purpose, sealed, public, created_at: now }).await?;
    let row = AuthorityRow {
        fingerprint: issued.fingerprint.clone(),
        kind: kind.to_owned(),
        der: issued.der.clone(),
        key_purpose: key.name.clone(),
        not_after: issued.validity.not_after,
        created_at: now,
    };
    tx.put_authority(&row).await?;
    Ok(())
}

/// The authority of this kind with its sealed key; the oldest where there are several. Two servers that start at the same
/// moment on an empty database may each make one, and both settle on the same.
pub(super) async fn stored_authority(tx: &mut TenantTx, kind: &str) -> Result<Option<(AuthorityRow, SealedKeyRow)>> {
    let rows = tx.authorities().await?;
    let oldest = rows
        .into_iter()
        .filter(|row| row.kind == kind)
        .min_by(|one, other| (one.created_at, &one.fingerprint).cmp(&(other.created_at, &other.fingerprint)));
    let Some(authority) = oldest else { return Ok(None) };
    let key = tx.sealed_key(&authority.key_purpose).await?;
    let key = key.ok_or_else(|| Error::internal("an authority without its key"))?;
    Ok(Some((authority, key)))
}

/// Opens what [`stored_authority`] found.
pub(super) fn open(app: &App, tenant: Option<&TenantId>, row: &AuthorityRow, key: &SealedKeyRow) -> Result<Opened> {
    let key = app.vault().signer(owner(tenant), &key.purpose, &key.sealed).map_err(Error::internal)?;
    let certificate = Certificate::parse(&row.der).map_err(Error::internal)?;
    let opened = Opened { certificate, key };
    opened.issuer()?;
    Ok(opened)
}

/// Whose a sealed key is; the installation's own has no name.
fn owner(tenant: Option<&TenantId>) -> &str {
    tenant.map_or("", TenantId::as_str)
}
