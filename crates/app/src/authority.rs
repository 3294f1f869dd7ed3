//! The installation's authorities: made at the first start, opened at every one, known to the doors.
//!
//! ```text
//! root -> infra -> the server's certificate (made at every start, its key in memory only)
//!      -> one issuing authority for each tenant -> its devices
//! ```
//! Private keys lie sealed in the store and are opened for as long as they are in use. The trust index and the opened
//! issuing authorities are kept in memory; [`refresh_trust`] brings them up to what the store has, after a tenant was
//! made here and now and then for what another server on the same database did. See `docs/adr/0003-certificates.md`. Where
//! an authority's private key is (sealed, in a token) only `keys` knows.

mod external;
mod installation;
mod issuer;
mod issuing;
mod keys;
mod leaf;
pub(crate) mod standing;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fleetward_base::TenantId;
use fleetward_pki::trust::Authority;
use fleetward_pki::{Certificate, TrustIndex, pem};
use fleetward_store::{AuthorityRow, Of, SystemTx};
use parking_lot::RwLock;

use crate::error::{Error, Result};
use crate::{App, vault};

pub use external::{Credential, RecentHealth};
pub(crate) use external::{External, Failure};
pub use installation::{ServerIdentity, open_installation};
pub(crate) use issuer::{
    TenantIssuer, config_of, forget_issuer, issuer, open_credential, reseal_credential, seal_credential,
};
pub(crate) use issuing::{Issuing, create_issuing, issuing, issuing_ends, key_in_token};
pub(crate) use leaf::{LeafFault, Wish, sign_leaf};

/// Kinds of authorities that vouch for devices: ours, and those of external issuers, whose keys are not here.
pub(crate) const ISSUING: &str = issuing::KIND;
pub(crate) const EXTERNAL: &str = "external";
pub(crate) use keys::opened;

/// The kind under which the authority of a factory is kept.
pub(crate) const FACTORY: &str = "factory";

/// What the process keeps of them.
#[derive(Default)]
pub(crate) struct Authorities {
    trust: Arc<ArcSwap<TrustIndex>>,
    /// Held while the index is loaded: an older one must not be swapped in after a newer one.
    refreshing: tokio::sync::Mutex<()>,
    issuing: RwLock<HashMap<TenantId, Arc<Issuing>>>,
    issuers: RwLock<HashMap<TenantId, issuer::Held>>,
    /// The root's certificate in DER; set when the installation was opened.
    root: RwLock<Option<Arc<Certificate>>>,
}

/// Which issuing authority vouches for which tenant's devices; swapped whenever that changes.
pub fn trust(app: &App) -> Arc<ArcSwap<TrustIndex>> {
    Arc::clone(&app.authorities().trust)
}

/// Loads all authorities that vouch for devices and swaps the index in.
///
/// # Errors
/// Where the store does not answer, or holds what is no authority.
pub async fn refresh_trust(app: &App) -> Result<()> {
    vault::refresh(app).await?;
    let _turn = app.authorities().refreshing.lock().await;
    let (rows, standings, revisions) = app
        .store()
        .system_read("authorities", |tx: &mut SystemTx| {
            Box::pin(async move {
                let standings = tx.all_authority_standings().await?;
                Ok::<_, Error>((tx.all_authorities().await?, standings, tx.issuer_revisions().await?))
            })
        })
        .await?;
    let standings: HashMap<_, _> =
        standings.into_iter().map(|of| ((of.tenant, of.row.fingerprint), of.row.standing)).collect();
    let standing = |of: &Of<AuthorityRow>| {
        let key = (of.tenant.clone(), of.row.fingerprint.clone());
        standings.get(&key).map_or(standing::CURRENT, String::as_str)
    };
    let authorities = rows.iter().filter_map(|of| {
        let kind = standing::vouches_as(&of.row, standing(of))?;
        Some(Authority { tenant: of.tenant.clone()?, kind, certificate: of.row.der.clone() })
    });
    let index = TrustIndex::new(authorities).map_err(Error::internal)?;
    app.authorities().trust.store(Arc::new(index));
    // What another server on the same database changed is read again when it is next needed.
    app.authorities().issuing.write().retain(|tenant, held| {
        let fingerprint = held.certificate.fingerprint();
        let row = rows.iter().find(|of| of.tenant.as_ref() == Some(tenant) && of.row.fingerprint == fingerprint);
        row.is_some_and(|of| standing(of) == standing::CURRENT)
    });
    let revision = |tenant: &TenantId| {
        revisions.iter().find(|of| of.tenant.as_ref() == Some(tenant)).map_or(0, |of| of.row.revision)
    };
    app.authorities().issuers.write().retain(|tenant, held| held.revision() == revision(tenant));
    Ok(())
}

/// The root's certificate as PEM, which operators and devices trust the server by.
///
/// # Errors
/// `Unavailable` before the installation was opened.
pub async fn root_pem(app: &App) -> Result<String> {
    Ok(pem::write(pem::CERTIFICATE, &root(app)?.der))
}

/// What a device of the tenant is told to trust: its issuing authority and the root (RFC 7030 §4.1.3). Without a tenant
/// the root alone, by which the server can be known.
///
/// # Errors
/// `NotFound` where there is no such tenant.
pub async fn authority_chain(app: &App, tenant: Option<&TenantId>) -> Result<Vec<Vec<u8>>> {
    let root = root(app)?.der.clone();
    match tenant {
        None => Ok(vec![root]),
        Some(tenant) => {
            let mut chain = match issuer(app, tenant).await? {
                TenantIssuer::BuiltIn => vec![issuing(app, tenant).await?.certificate.der.clone()],
                TenantIssuer::External(external) => external.authorities().to_vec(),
            };
            chain.push(root);
            Ok(chain)
        }
    }
}

/// Forgets the opened authorities of tenants whose keys may not be used any more.
pub(crate) fn forget_disabled(app: &App) {
    app.authorities().issuing.write().retain(|tenant, _| app.vault().is_usable(tenant.as_str()));
}

pub(crate) fn root(app: &App) -> Result<Arc<Certificate>> {
    app.authorities().root.read().clone().ok_or(Error::Unavailable { what: "the server" })
}
