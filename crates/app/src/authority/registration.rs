//! The registration authority of a tenant: the RSA key to which SCEP's requests are encrypted and with which its answers are
//! signed (RFC 8894 §2.1.2). Never the key that issues.
//!
//! Made when it is first needed, and again when two thirds of its time are over or the issuing authority became another.
//! Older ones go on opening what is still encrypted to them until their certificates end, since a client keeps the one it
//! once got. Two servers on one database may make one each at the same moment; both count.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::scep::{Genuine, Responder};
use fleetward_pki::{Certificate, Serial, Signer, ca};
use fleetward_store::{AuthorityRow, SealedKeyRow, TenantTx};
use serde_json::json;

use super::issuing::{Issuing, issuing};
use super::{OtherKind, keys, other_row};
use crate::App;
use crate::error::{Error, Result};
use crate::journal::record;

pub(crate) const KIND: &str = "scep-ra";
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Those of a tenant that are opened, the newest first.
pub(crate) struct Registration {
    responders: Vec<Responder>,
}

impl Registration {
    /// The one that new clients are given.
    ///
    /// # Errors
    /// `Internal` where there is none, which [`registration`] does not let happen.
    pub(crate) fn current(&self) -> Result<&Responder> {
        self.responders.first().ok_or_else(|| Error::internal("no registration authority"))
    }

    /// The one that a message is encrypted to.
    pub(crate) fn addressed(&self, message: &Genuine<'_>, now: Timestamp) -> Option<&Responder> {
        let counts = |responder: &&Responder| now <= responder.certificate.not_after;
        self.responders.iter().filter(counts).find(|responder| message.is_for(responder.holder()))
    }

    fn is_fresh(&self, issuing: &Issuing, now: Timestamp) -> bool {
        self.responders.first().is_some_and(|newest| is_fresh(&newest.certificate, issuing, now))
    }
}

fn is_fresh(certificate: &Certificate, issuing: &Issuing, now: Timestamp) -> bool {
    let life = certificate.not_after.since(certificate.not_before);
    let ours = certificate.authority_key_id == issuing.certificate.subject_key_id;
    ours && certificate.issuer == issuing.certificate.subject && now < certificate.not_before.plus(life * 2 / 3)
}

/// The tenant's registration authority, from memory, from the store, or made.
///
/// # Errors
/// `NotFound` where there is no such tenant; `Internal` where a key does not open.
pub(crate) async fn registration(app: &App, tenant: &TenantId) -> Result<Arc<Registration>> {
    let issuing = issuing(app, tenant).await?;
    let known = app.authorities().registration.read().get(tenant).cloned();
    match known {
        Some(known) if known.is_fresh(&issuing, app.now()) => Ok(known),
        _ => load_or_make(app, tenant, &issuing).await,
    }
}

/// As [`registration`], looking at what another server on the same database may have made.
///
/// # Errors
/// As there.
pub(crate) async fn registration_anew(app: &App, tenant: &TenantId) -> Result<Arc<Registration>> {
    load_or_make(app, tenant, &issuing(app, tenant).await?).await
}

async fn load_or_make(app: &App, tenant: &TenantId, issuing: &Arc<Issuing>) -> Result<Arc<Registration>> {
    let mut found = load(app, tenant).await?;
    if !found.is_fresh(issuing, app.now()) {
        let _turn = app.authorities().registering.lock().await;
        found = load(app, tenant).await?;
        if !found.is_fresh(issuing, app.now()) {
            make(app, tenant, issuing).await?;
            found = load(app, tenant).await?;
        }
    }
    let found = Arc::new(found);
    app.authorities().registration.write().insert(tenant.clone(), Arc::clone(&found));
    Ok(found)
}

async fn load(app: &App, tenant: &TenantId) -> Result<Registration> {
    let now = app.now();
    let stored = app
        .read(tenant, "registration authorities", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let mut stored = Vec::new();
                for row in tx.authorities().await?.into_iter().filter(|row| row.kind == KIND && row.not_after >= now) {
                    let key = tx.sealed_key(&row.key_purpose).await?;
                    stored.push((row, key.ok_or_else(|| Error::internal("an authority without its key"))?));
                }
                Ok(stored)
            })
        })
        .await?;
    let open = |(row, key): (AuthorityRow, SealedKeyRow)| {
        let key = app.vault().rsa_key(tenant.as_str(), &key.purpose, &key.sealed)?;
        Responder::new(&row.der, key).map_err(Error::internal)
    };
    Ok(Registration { responders: stored.into_iter().map(open).collect::<Result<_>>()? })
}

async fn make(app: &App, tenant: &TenantId, issuing: &Arc<Issuing>) -> Result<()> {
    let (app_in, owner) = (app.clone(), tenant.clone());
    // An RSA key takes long enough to make that a thread which answers others must not do it.
    let making =
        tokio::task::spawn_blocking(move || app_in.vault().new_rsa_key(app_in.rng().as_ref(), owner.as_str(), KIND));
    let made = making.await.map_err(Error::internal)??;
    let now = app.now();
    let name = format!("{tenant} SCEP {}", made.mark);
    let serial = Serial::generate(app.rng().as_ref());
    let (owner, common_name, spki) = (tenant.to_string(), name.clone(), made.key.public_spki().to_vec());
    let validity = keys::lasting(now, LIFE);
    let issued = issuing.sign(move |issuer| ca::registration(issuer, (&owner, &common_name), serial, validity, &spki));
    let issued = issued.await?.map_err(Error::internal)?;
    let key = SealedKeyRow {
        purpose: made.name.clone(),
        sealed: made.sealed,
        public: made.key.public_spki().to_vec(),
        created_at: now,
    };
    let other = other_row(OtherKind::Registration, &issuing.certificate.fingerprint(), &issued, now);
    let row = AuthorityRow {
        fingerprint: issued.fingerprint,
        kind: KIND.to_owned(),
        der: issued.der,
        key_purpose: made.name,
        not_after: issued.validity.not_after,
        created_at: now,
    };
    let ctx = app.system("scep");
    app.write(tenant, "create registration authority", move |tx: &mut TenantTx| {
        Box::pin(async move {
            tx.put_sealed_key(&key).await?;
            tx.put_authority(&row).await?;
            tx.insert_other_certificate(&other).await?;
            let detail = json!({ "name": name, "not_after": row.not_after.to_string() });
            let entry = ctx.done(now, Action::TenantRaCreated).subject(&row.fingerprint).severity(Severity::Notice);
            record(tx, &entry.detail(detail)).await?;
            Ok(())
        })
    })
    .await
}
