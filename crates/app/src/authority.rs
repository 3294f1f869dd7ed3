//! The installation's authorities: made at the first start, opened at every one, known to the doors.
//!
//! ```text
//! root -> infra -> the server's certificate (made at every start, its key in memory only)
//!      -> one issuing authority for each tenant -> its devices
//!                                               -> its registration authority, where SCEP is used
//! a root that is kept offline -> infra
//!                             -> tenants -> the issuing authorities
//! ```
//! Private keys lie sealed in the store and are opened for as long as they are in use. The trust index and the opened
//! issuing authorities are kept in memory; [`refresh_trust`] brings them up to what the store has, after a tenant was
//! made here and now and then for what another server on the same database did. See `docs/adr/0003-certificates.md`. Where
//! an authority's private key is (sealed, in a token) only `keys` knows.

mod external;
mod following;
mod installation;
mod issuer;
mod issuing;
mod keys;
mod leaf;
pub(crate) mod offline;
mod other;
mod registration;
mod revoking;
pub(crate) mod standing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use fleetward_base::TenantId;
use fleetward_pki::trust::Authority;
use fleetward_pki::{Certificate, TrustIndex, pem};
use fleetward_store::{AuthorityRow, Of, SystemTx, TenantTx};
use parking_lot::{Mutex, RwLock};

use crate::error::{Error, Result};
use crate::{App, vault};

pub use external::{Credential, RecentHealth};
pub(crate) use external::{External, Failure};
pub(crate) use following::{
    AT_ONCE, Followed, NextRoot, call_off, forget, let_sign, make_next_issuing, make_next_root, put_under_root,
    resting_on_issuing, tenants_under_another,
};
pub(crate) use installation::renew_server;
pub use installation::{ServerIdentity, open_installation, open_installation_under, server_identity};
pub(crate) use issuer::{
    TenantIssuer, config_of, forget_issuer, issuer, open_credential, reseal_credential, seal_credential,
};
pub(crate) use issuing::{Issuing, TokenKey, create_issuing, issuing, issuing_ends, key_in_token};
pub(crate) use leaf::{LeafFault, SignedLeaf, Wish, sign_leaf};
pub(crate) use other::{OtherKind, other_row};

/// Kinds of authorities that vouch for devices: ours, and those of external issuers, whose keys are not here.
pub(crate) const ISSUING: &str = issuing::KIND;
/// The kind of what speaks SCEP for a tenant: it signs messages and no certificates.
pub(crate) const REGISTRATION: &str = registration::KIND;
pub(crate) const EXTERNAL: &str = "external";
pub(crate) use keys::opened;
pub(crate) use registration::{Registration, registration, registration_anew};
pub(crate) use revoking::revoke;

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
    registration: RwLock<HashMap<TenantId, Arc<Registration>>>,
    /// Held while the key of one is made: a crowd that arrives at a new service must not make one each.
    registering: tokio::sync::Mutex<()>,
    roots: RwLock<Roots>,
    /// What TLS listeners show; set when the installation was opened, and anew under a new root.
    server: ArcSwapOption<ServerIdentity>,
    /// Who vouches for the server's certificate while the offline root has not signed anything: nobody, in the end.
    provisional: ArcSwapOption<Certificate>,
    /// Authorities that were told of because they end soon.
    warned: Mutex<HashSet<String>>,
    /// The roots that devices were told to fetch, by fingerprint; none before the first look.
    told: Mutex<Option<Vec<String>>>,
}

/// The installation's roots, and how they vouch for each other while one follows the other.
#[derive(Clone, Default)]
struct Roots {
    /// The one that signs.
    current: Option<Arc<Certificate>>,
    /// The one that follows it, or that it followed.
    others: Vec<Arc<Certificate>>,
    /// The one that devices must hold before it signs, by fingerprint, or that they still are to hold.
    awaited: Option<String>,
    cross: Vec<Vec<u8>>,
    /// Under a root that is kept offline: what signs the authorities of tenants.
    tenants: Option<Arc<Certificate>>,
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
    *app.authorities().roots.write() = roots_of(&rows, &standing)?;
    let revision = |tenant: &TenantId| {
        revisions.iter().find(|of| of.tenant.as_ref() == Some(tenant)).map_or(0, |of| of.row.revision)
    };
    app.authorities().issuers.write().retain(|tenant, held| held.revision() == revision(tenant));
    Ok(())
}

fn roots_of<'a>(rows: &[Of<AuthorityRow>], standing: &impl Fn(&Of<AuthorityRow>) -> &'a str) -> Result<Roots> {
    let mut roots = Roots::default();
    for of in rows.iter().filter(|of| of.tenant.is_none() && !standing::is_over(standing(of))) {
        match (of.row.kind.as_str(), standing(of)) {
            (following::CROSS, _) => roots.cross.push(of.row.der.clone()),
            (installation::TENANTS, at @ (standing::CURRENT | standing::RETIRING))
                if roots.tenants.is_none() || at == standing::CURRENT =>
            {
                roots.tenants = Some(Arc::new(Certificate::parse(&of.row.der).map_err(Error::internal)?));
            }
            (installation::ROOT, at) => {
                let root = Arc::new(Certificate::parse(&of.row.der).map_err(Error::internal)?);
                if at == standing::CURRENT && roots.current.is_none() {
                    roots.current = Some(root);
                } else {
                    if at == standing::NEXT {
                        roots.awaited = Some(of.row.fingerprint.clone());
                    }
                    roots.others.push(root);
                }
            }
            _ => {}
        }
    }
    if roots.awaited.is_none() && !roots.others.is_empty() {
        roots.awaited = roots.current.as_ref().map(|root| root.fingerprint());
    }
    Ok(roots)
}

/// The roots' certificates as PEM, which operators and devices trust the server by; the one that signs first. Before an
/// offline root signed anything also the one that vouches for the server until then.
///
/// # Errors
/// `Unavailable` before the installation was opened.
pub async fn root_pem(app: &App) -> Result<String> {
    root(app)?;
    // First what a client needs now.
    let provisional = app.authorities().provisional.load_full().map(|root| root.der.clone());
    Ok(provisional.iter().chain(&anchors(app)).map(|der| pem::write(pem::CERTIFICATE, der)).collect())
}

fn anchors(app: &App) -> Vec<Vec<u8>> {
    let roots = app.authorities().roots.read();
    roots.current.iter().chain(&roots.others).map(|root| root.der.clone()).collect()
}

/// What a device of the tenant is told to trust: who signs its certificates, and the root (RFC 7030 §4.1.3). Without a
/// tenant the root alone, by which the server can be known. While one root follows another: both, and each as the other
/// vouches for it (OldWithOld, OldWithNew, NewWithOld, NewWithNew).
///
/// # Errors
/// `NotFound` where there is no such tenant.
pub async fn authority_chain(app: &App, tenant: Option<&TenantId>) -> Result<Vec<Vec<u8>>> {
    root(app)?;
    let mut chain = Vec::new();
    if let Some(tenant) = tenant {
        match issuer(app, tenant).await? {
            TenantIssuer::BuiltIn => {
                let issuing = issuing(app, tenant).await?;
                chain.push(issuing.certificate.der.clone());
                chain.extend(next_issuing(app, tenant).await?.map(|next| next.der));
                chain.extend(offline::between(app, &issuing.certificate).map(|above| above.der.clone()));
            }
            TenantIssuer::External(external) => chain.extend_from_slice(external.authorities()),
        }
    }
    chain.extend(anchors(app));
    chain.extend(app.authorities().roots.read().cross.iter().cloned());
    Ok(chain)
}

/// The issuing authority that is to follow the tenant's present one, while it is shown and does not sign yet
/// (GetNextCACert of RFC 8894 §4.7).
///
/// # Errors
/// Where the store does not answer.
pub async fn next_issuing(app: &App, tenant: &TenantId) -> Result<Option<Certificate>> {
    let rows = app
        .read(tenant, "next issuing authority", |tx: &mut TenantTx| {
            Box::pin(async move { standing::with_standing(tx, ISSUING, standing::NEXT).await })
        })
        .await?;
    rows.first().map(|row| Certificate::parse(&row.der).map_err(Error::internal)).transpose()
}

/// The root that devices are to hold, by fingerprint, while one follows another.
pub fn awaited_root(app: &App) -> Option<String> {
    app.authorities().roots.read().awaited.clone()
}

/// The roots, by fingerprint, where devices are to be told that they are others than before; they count as told then. At
/// the first look after a start only where one follows another: a fleet is not sent for what it has.
pub(crate) fn roots_to_tell(app: &App) -> Option<Vec<String>> {
    let mut roots: Vec<String> = {
        let roots = app.authorities().roots.read();
        roots.current.iter().chain(&roots.others).map(|root| root.fingerprint()).collect()
    };
    roots.sort();
    let before = app.authorities().told.lock().replace(roots.clone());
    let changed = before.map_or(roots.len() > 1, |before| before != roots);
    changed.then_some(roots)
}

pub(crate) fn is_awaited(app: &App, fingerprint: &str) -> bool {
    app.authorities().roots.read().awaited.as_deref() == Some(fingerprint)
}

pub(crate) fn warned(app: &App) -> &Mutex<HashSet<String>> {
    &app.authorities().warned
}

pub(crate) fn root(app: &App) -> Result<Arc<Certificate>> {
    app.authorities().roots.read().current.clone().ok_or(Error::Unavailable { what: "the server" })
}

impl Authorities {
    /// Forgets what was opened for other tenants than these; for [`vault::refresh`] alone.
    pub(crate) fn keep_opened(&self, of: impl Fn(&TenantId) -> bool) {
        self.issuing.write().retain(|tenant, _| of(tenant));
        self.issuers.write().retain(|tenant, _| of(tenant));
        self.registration.write().retain(|tenant, _| of(tenant));
    }
}
