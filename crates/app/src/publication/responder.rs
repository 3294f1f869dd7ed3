//! Who answers OCSP for an authority: a key of its own under a certificate that lives for some weeks.
//!
//! The key lies sealed in the store, so that all servers on one database answer with the same one. The answer to what our
//! own server's certificate is worth is signed the same way, ahead of the hand-shakes that staple it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{TenantId, Timestamp};
use fleetward_pki::ocsp::{self, Responder, Single, Standing};
use fleetward_pki::{Certificate, Serial, Signer, SoftKey, Validity, ca};
use fleetward_store::{OtherCertificateRow, ResponderRow, SealedKeyRow, SystemTx, TenantTx};
use parking_lot::RwLock;

use super::Ca;
use crate::error::{Error, Result};
use crate::{App, authority, vault};

/// A responder's certificate is not asked after (id-pkix-ocsp-nocheck), so it is short-lived.
const LIFE: Duration = Duration::from_secs(28 * 24 * 3600);
/// Another takes its place this long before its end.
const RENEW_BEFORE: Duration = Duration::from_secs(14 * 24 * 3600);
/// For clients whose clock is behind.
const BACKDATE: Duration = Duration::from_secs(3600);
/// How long a stapled answer counts.
pub(super) const STAPLE_LIFE: Duration = Duration::from_secs(24 * 3600);

const KIND: &str = "ocsp";

/// A responder that was opened.
pub(super) struct Opened {
    /// Whose key it is; none for the installation's.
    tenant: Option<TenantId>,
    certificate: Certificate,
    key: SoftKey,
    renew_at: Timestamp,
}

impl Opened {
    pub(super) fn responder(&self) -> Responder<'_> {
        Responder { certificate: &self.certificate, signer: &self.key }
    }

    /// Past this moment it signs no more.
    pub(super) fn ends(&self) -> Timestamp {
        self.certificate.not_after
    }
}

/// Those that are open, by their authority.
#[derive(Default)]
pub(super) struct Responders {
    open: RwLock<HashMap<String, Arc<Opened>>>,
}

impl Responders {
    /// Forgets those of other tenants than these.
    pub(super) fn keep_opened(&self, of: impl Fn(&TenantId) -> bool) {
        self.open.write().retain(|_, opened| opened.tenant.as_ref().is_none_or(&of));
    }
}

/// The responder of an authority: from memory, from the store, or made.
///
/// # Errors
/// `Unavailable` while the tenant's keys are disabled.
pub(super) async fn of(app: &App, ca: &Ca) -> Result<Arc<Opened>> {
    if let Some(tenant) = &ca.tenant {
        vault::usable(app, tenant).await?;
    }
    let now = app.now();
    if let Some(open) = app.publication().responders.open.read().get(&ca.fingerprint)
        && now < open.renew_at
    {
        return Ok(Arc::clone(open));
    }
    let stored = match load(app, ca).await? {
        Some(stored) if now < stored.0.renew_at => stored,
        _ => {
            make(app, ca).await?;
            load(app, ca).await?.ok_or_else(|| Error::internal("the responder that was made is not there"))?
        }
    };
    let (row, sealed) = stored;
    let key = app.vault().signer(owner(ca.tenant.as_ref()), &sealed.purpose, &sealed.sealed)?;
    let certificate = Certificate::parse(&row.der).map_err(Error::internal)?;
    let opened = Arc::new(Opened { tenant: ca.tenant.clone(), certificate, key, renew_at: row.renew_at });
    app.publication().responders.open.write().insert(ca.fingerprint.clone(), Arc::clone(&opened));
    Ok(opened)
}

async fn load(app: &App, ca: &Ca) -> Result<Option<(ResponderRow, SealedKeyRow)>> {
    let fingerprint = ca.fingerprint.clone();
    match &ca.tenant {
        Some(tenant) => {
            app.read(tenant, "ocsp responder", move |tx: &mut TenantTx| {
                Box::pin(async move { stored(tx, &fingerprint).await })
            })
            .await
        }
        None => {
            app.store()
                .system_read("ocsp responder", move |tx: &mut SystemTx| {
                    Box::pin(async move { stored(tx.installation().await?, &fingerprint).await })
                })
                .await
        }
    }
}

async fn stored(tx: &mut TenantTx, fingerprint: &str) -> Result<Option<(ResponderRow, SealedKeyRow)>> {
    let Some(row) = tx.ocsp_responder(fingerprint).await? else { return Ok(None) };
    Ok(tx.sealed_key(&row.key_purpose).await?.map(|key| (row, key)))
}

async fn make(app: &App, ca: &Ca) -> Result<()> {
    let above = authority::opened(app, ca.tenant.as_ref(), &ca.fingerprint).await?;
    let now = app.now();
    let key = app.vault().new_signing_key(app.rng().as_ref(), owner(ca.tenant.as_ref()), KIND)?;
    let name = format!("Fleetward OCSP {}", key.mark);
    let validity = Validity { not_before: now.minus(BACKDATE), not_after: now.plus(LIFE) };
    let serial = Serial::generate(app.rng().as_ref());
    let spki = key.key.public_spki().to_vec();
    let signing = above.sign(move |issuer| ca::ocsp_responder(issuer, &name, serial, validity, &spki));
    let issued = signing.await?.map_err(Error::internal)?;
    // An authority near its end cuts it short.
    let renew_at = Timestamp::max(issued.validity.not_after.minus(RENEW_BEFORE), now.plus(BACKDATE));
    let public = key.key.public_spki().to_vec();
    let sealed = SealedKeyRow { purpose: key.name.clone(), sealed: key.sealed, public, created_at: now };
    let other = authority::other_row(authority::OtherKind::Ocsp, &ca.fingerprint, &issued, now);
    let row = ResponderRow { authority: ca.fingerprint.clone(), der: issued.der, key_purpose: key.name, renew_at };
    match &ca.tenant {
        Some(tenant) => {
            app.write(tenant, "new ocsp responder", move |tx: &mut TenantTx| {
                Box::pin(async move { keep(tx, &sealed, &row, &other).await })
            })
            .await
        }
        None => {
            app.store()
                .system_write("new ocsp responder", move |tx: &mut SystemTx| {
                    Box::pin(async move { keep(tx.installation().await?, &sealed, &row, &other).await })
                })
                .await
        }
    }
}

async fn keep(tx: &mut TenantTx, sealed: &SealedKeyRow, row: &ResponderRow, other: &OtherCertificateRow) -> Result<()> {
    tx.put_sealed_key(sealed).await?;
    tx.insert_other_certificate(other).await?;
    Ok(tx.put_ocsp_responder(row).await?)
}

fn owner(tenant: Option<&TenantId>) -> &str {
    tenant.map_or("", TenantId::as_str)
}

/// An answer on this server's own certificate, to be stapled to its hand-shakes, and until when it counts: the same that
/// anybody gets who asks. None where it was issued by nobody of ours.
///
/// # Errors
/// Where the responder cannot be made or does not sign.
pub async fn staple(app: &App, server: &[u8]) -> Result<Option<(Vec<u8>, Timestamp)>> {
    let server = Certificate::parse(server).map_err(Error::internal)?;
    super::refresh(app).await?;
    let ours = |ca: &Arc<Ca>| {
        ca.certificate.subject == server.issuer && ca.certificate.subject_key_id == server.authority_key_id
    };
    let Some(ca) = app.publication().all().into_iter().find(ours) else { return Ok(None) };
    let standing = match super::ocsp::own_standing(app, &ca, &server.serial).await? {
        Standing::Unknown => return Ok(None),
        known => known,
    };
    let responder = of(app, &ca).await?;
    let id = ocsp::cert_id(&ca.certificate, &server.serial).map_err(Error::internal)?;
    let now = app.now();
    let until = Timestamp::min(now.plus(STAPLE_LIFE), responder.ends());
    let single = Single { id: &id, standing };
    let span = (now.minus(BACKDATE), until);
    let der = ocsp::answer(&[single], &responder.responder(), span, None).map_err(Error::internal)?;
    Ok(Some((der, until)))
}
