//! Which issuer signs for a tenant: read once, kept in memory, read again when its row changed.

use std::sync::Arc;

use fleetward_base::{Secret, TenantId};
use fleetward_core::issuer::Issuer as Config;
use fleetward_store::{IssuerRow, TenantTx};
use fleetward_vault::Purpose;
use serde::{Deserialize, Serialize};

use super::external::{Credential, External};
use crate::error::{Error, Result};
use crate::{App, vault};

/// What a sealed credential is bound to beside its tenant.
const SEALED_FOR: &str = "issuer";

#[derive(Clone)]
pub(crate) enum TenantIssuer {
    BuiltIn,
    External(Arc<External>),
}

/// What the process keeps of a tenant's issuer.
#[derive(Clone)]
pub(super) struct Held {
    revision: u64,
    issuer: TenantIssuer,
}

impl Held {
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }
}

/// Who signs for the tenant, from memory or the store. While the tenant's keys are disabled nobody does: what is behind a
/// sealed credential is as closed as a sealed key.
pub(crate) async fn issuer(app: &App, tenant: &TenantId) -> Result<TenantIssuer> {
    vault::usable(app, tenant).await?;
    if let Some(held) = app.authorities().issuers.read().get(tenant) {
        return Ok(held.issuer.clone());
    }
    let row = app.read(tenant, "issuer", |tx: &mut TenantTx| Box::pin(async move { Ok(tx.issuer().await?) })).await?;
    let revision = row.as_ref().map_or(0, |row| row.revision);
    let issuer = match row {
        None => TenantIssuer::BuiltIn,
        Some(row) => opened(app, tenant, &row)?,
    };
    app.authorities().issuers.write().insert(tenant.clone(), Held { revision, issuer: issuer.clone() });
    Ok(issuer)
}

/// Another issuer signs from now on.
pub(crate) fn forget_issuer(app: &App, tenant: &TenantId) {
    app.authorities().issuers.write().remove(tenant);
}

fn opened(app: &App, tenant: &TenantId, row: &IssuerRow) -> Result<TenantIssuer> {
    match config_of(row)? {
        Config::BuiltIn => Ok(TenantIssuer::BuiltIn),
        config => {
            let credential = open_credential(app, tenant, &row.credential)?;
            Ok(TenantIssuer::External(Arc::new(External::new(config, &credential)?)))
        }
    }
}

pub(crate) fn config_of(row: &IssuerRow) -> Result<Config> {
    serde_json::from_str(&row.config).map_err(Error::internal)
}

/// As it lies within the seal.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    #[serde(default)]
    jwk: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    role_id: Option<String>,
    #[serde(default)]
    secret_id: Option<String>,
    #[serde(default)]
    auth_key: Option<String>,
}

/// Seals a credential for its tenant.
pub(crate) fn seal_credential(app: &App, tenant: &TenantId, credential: &Credential) -> Result<Vec<u8>> {
    let text = |field: &Option<Secret<String>>| field.as_ref().map(|secret| secret.expose().clone());
    let kept = Kept {
        jwk: text(&credential.jwk),
        token: text(&credential.token),
        role_id: text(&credential.role_id),
        secret_id: text(&credential.secret_id),
        auth_key: text(&credential.auth_key),
    };
    let plain = Secret::new(serde_json::to_vec(&kept).map_err(Error::internal)?);
    let bound_to = [tenant.as_str(), SEALED_FOR];
    Ok(app.vault().seal(app.rng().as_ref(), Purpose::Secret, &bound_to, plain.expose())?)
}

/// Seals the credential again under the tenant's newest key, if it is under another; for the walk behind a rotation.
pub(crate) async fn reseal_credential(app: &App, tenant: &TenantId) -> Result<bool> {
    let row = app
        .read(tenant, "issuer to seal again", |tx: &mut TenantTx| Box::pin(async move { Ok(tx.issuer().await?) }))
        .await?;
    let Some(row) = row.filter(|row| !row.credential.is_empty()) else { return Ok(false) };
    let bound_to = [tenant.as_str(), SEALED_FOR];
    let again = app.vault().reseal(app.rng().as_ref(), Purpose::Secret, &bound_to, &row.credential)?;
    let Some(credential) = again else { return Ok(false) };
    app.write(tenant, "seal issuer again", move |tx: &mut TenantTx| {
        Box::pin(async move {
            // The same credential: nobody who saw this revision saw another.
            let expected = row.revision;
            Ok(tx.update_issuer(&IssuerRow { credential, ..row }, expected).await?)
        })
    })
    .await
}

pub(crate) fn open_credential(app: &App, tenant: &TenantId, sealed: &[u8]) -> Result<Credential> {
    if sealed.is_empty() {
        return Ok(Credential::default());
    }
    let plain = app.vault().open(Purpose::Secret, &[tenant.as_str(), SEALED_FOR], sealed)?;
    let kept: Kept = serde_json::from_slice(plain.expose()).map_err(Error::internal)?;
    Ok(Credential {
        jwk: kept.jwk.map(Secret::new),
        token: kept.token.map(Secret::new),
        role_id: kept.role_id.map(Secret::new),
        secret_id: kept.secret_id.map(Secret::new),
        auth_key: kept.auth_key.map(Secret::new),
    })
}
