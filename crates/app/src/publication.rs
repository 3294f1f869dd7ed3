//! What anybody may fetch of our authorities: their certificates, lists of what is revoked, and answers on single
//! certificates.
//!
//! It exists for others: a proxy, another broker, an auditor. No door of ours reads any of it, so that a list that is stale
//! or missing keeps nobody out. Lists are signed ahead by [`crate::reconcile::crls`] and kept; answers are signed by a
//! key of their own ([`responder`]), ahead where somebody is likely to ask, and kept in memory while they count. An
//! authority is named by the first 16 digits of its certificate's SHA-256, which tell nothing of whose it is.

mod answers;
mod lists;
pub mod ocsp;
mod responder;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fleetward_base::TenantId;
use fleetward_pki::leaf::Urls;
use fleetward_pki::ocsp::IssuerNames;
use fleetward_pki::{Certificate, Serial, crl::shards};
use fleetward_store::SystemTx;
use parking_lot::{Mutex, RwLock};

use crate::App;
use crate::authority::{EXTERNAL, FACTORY, REGISTRATION};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;

pub(crate) use lists::list_of_issuer;
pub use lists::{ListView, SignedList, list, lists};
pub use responder::staple;

/// Digits of its fingerprint that an authority is named by.
const MARK: usize = 16;
/// An authority that is not known is looked for in the store at most this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// An authority of this installation.
#[derive(Debug)]
pub struct Ca {
    /// Whose it is; none for the installation's own.
    pub tenant: Option<TenantId>,
    pub fingerprint: String,
    pub certificate: Certificate,
    names: IssuerNames,
}

impl Ca {
    /// As most clients ask for a certificate of this authority (CertID in DER).
    pub(crate) fn cert_id(&self, serial: &Serial) -> Vec<u8> {
        self.names.cert_id(serial)
    }

    /// How URLs name it.
    pub fn mark(&self) -> &str {
        self.fingerprint.get(..MARK).unwrap_or(&self.fingerprint)
    }
}

/// What the process keeps.
#[derive(Default)]
pub(crate) struct Publication {
    authorities: ArcSwap<HashMap<String, Arc<Ca>>>,
    looked: Mutex<Option<Duration>>,
    /// The cut that a tenant's lists are there in.
    digits: RwLock<HashMap<TenantId, usize>>,
    pub(crate) answers: answers::Answers,
    responders: responder::Responders,
}

impl Publication {
    /// Forgets the keys of other tenants than these; for [`crate::vault::refresh`] alone. The installation's own stay.
    pub(crate) fn keep_opened(&self, of: impl Fn(&TenantId) -> bool) {
        self.responders.keep_opened(of);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Ca>> {
        self.authorities.load().values().cloned().collect()
    }

    pub(crate) fn set_digits(&self, tenant: &TenantId, digits: usize) {
        self.digits.write().insert(tenant.clone(), digits);
    }

    fn digits(&self, tenant: &TenantId) -> usize {
        self.digits.read().get(tenant).copied().unwrap_or(0)
    }
}

/// Brings the authorities up to what the store has; whether there are others than before.
pub(crate) async fn refresh(app: &App) -> Result<bool> {
    let rows = app
        .store()
        .system_read("published authorities", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.all_authorities().await?) })
        })
        .await?;
    let known = app.publication().authorities.load_full();
    let (mut next, mut changed) = (HashMap::new(), false);
    // Whose key is elsewhere publishes for itself, and what signs no certificates has nothing to publish.
    let ours = |kind: &str| ![FACTORY, EXTERNAL, REGISTRATION].contains(&kind);
    for of in rows.into_iter().filter(|of| ours(&of.row.kind)) {
        let mark = of.row.fingerprint.get(..MARK).unwrap_or_default().to_owned();
        if let Some(ca) = known.get(&mark).filter(|ca| ca.fingerprint == of.row.fingerprint) {
            next.insert(mark, Arc::clone(ca));
            continue;
        }
        changed = true;
        let certificate = Certificate::parse(&of.row.der).map_err(Error::internal)?;
        let names = IssuerNames::of(&certificate).map_err(Error::internal)?;
        let fingerprint = of.row.fingerprint;
        next.insert(mark, Arc::new(Ca { tenant: of.tenant, fingerprint, certificate, names }));
    }
    changed |= next.len() != known.len();
    app.publication().authorities.store(Arc::new(next));
    Ok(changed)
}

/// The authority that a URL names.
///
/// # Errors
/// `NotFound`.
pub async fn authority(app: &App, name: &str) -> Result<Arc<Ca>> {
    let found = || {
        let known = app.publication().authorities.load();
        known.get(name.get(..MARK)?).filter(|ca| ca.fingerprint.starts_with(name)).cloned()
    };
    if let Some(ca) = found() {
        return Ok(ca);
    }
    look_again(app).await?;
    found().ok_or(Error::NotFound { what: "authority" })
}

/// Somebody asks for an authority that is not known: another server may have made it.
async fn look_again(app: &App) -> Result<()> {
    let now = app.clock().monotonic();
    let due = {
        let mut looked = app.publication().looked.lock();
        let due = looked.is_none_or(|last| now.saturating_sub(last) >= LOOK_EVERY);
        if due {
            *looked = Some(now);
        }
        due
    };
    if due { refresh(app).await.map(drop) } else { Ok(()) }
}

/// What a certificate with this serial number says of where to ask about it; nothing where nobody said under which URL.
pub(crate) async fn urls(app: &App, tenant: &TenantId, authority: &str, serial: &str) -> Result<Option<Urls>> {
    let Some(base) = app.settings()?.pki_url.as_deref() else { return Ok(None) };
    if !identity_policy(app, tenant).await?.revocation.urls_in_certificates {
        return Ok(None);
    }
    let mark = authority.get(..MARK).unwrap_or(authority);
    let label = shards::label(serial, app.publication().digits(tenant));
    Ok(Some(Urls {
        crl: list_url(base, mark, label),
        ocsp: format!("{base}/pki/{mark}/ocsp"),
        issuer: format!("{base}/pki/{mark}/ca.der"),
    }))
}

/// Where a list is.
pub(crate) fn list_url(base: &str, mark: &str, label: &str) -> String {
    if label.is_empty() { format!("{base}/pki/{mark}/crl.der") } else { format!("{base}/pki/{mark}/crl/{label}.der") }
}
