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

mod installation;
mod issuing;
mod keys;

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::TenantId;
use fleetward_pki::trust::{Authority, Kind};
use fleetward_pki::{Certificate, TrustIndex};
use fleetward_store::SystemTx;
use parking_lot::RwLock;

use crate::error::{Error, Result};
use crate::{App, vault};

pub use installation::{ServerIdentity, open_installation};
pub(crate) use issuing::{Issuing, create_issuing, issuing, key_in_token};

/// The kind under which the authority of a factory is kept.
pub(crate) const FACTORY: &str = "factory";

/// What the process keeps of them.
#[derive(Default)]
pub(crate) struct Authorities {
    trust: Arc<ArcSwap<TrustIndex>>,
    /// Held while the index is loaded: an older one must not be swapped in after a newer one.
    refreshing: tokio::sync::Mutex<()>,
    issuing: RwLock<HashMap<TenantId, Arc<Issuing>>>,
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
    let rows = app
        .store()
        .system_read("authorities", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.all_authorities().await?) })
        })
        .await?;
    let authorities = rows.into_iter().filter_map(|of| {
        let kind = match of.row.kind.as_str() {
            issuing::KIND => Kind::Issuing,
            FACTORY => Kind::Factory,
            _ => return None,
        };
        Some(Authority { tenant: of.tenant?, kind, certificate: of.row.der })
    });
    let index = TrustIndex::new(authorities).map_err(Error::internal)?;
    app.authorities().trust.store(Arc::new(index));
    Ok(())
}

/// The root's certificate as PEM, which operators and devices trust the server by.
///
/// # Errors
/// `Unavailable` before the installation was opened.
pub async fn root_pem(app: &App) -> Result<String> {
    Ok(pem(&root(app)?.der))
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
        Some(tenant) => Ok(vec![issuing(app, tenant).await?.certificate.der.clone(), root]),
    }
}

/// Forgets the opened authorities of tenants whose keys may not be used any more.
pub(crate) fn forget_disabled(app: &App) {
    app.authorities().issuing.write().retain(|tenant, _| app.vault().is_usable(tenant.as_str()));
}

pub(crate) fn root(app: &App) -> Result<Arc<Certificate>> {
    app.authorities().root.read().clone().ok_or(Error::Unavailable { what: "the server" })
}

fn pem(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let encoded = STANDARD.encode(der);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
