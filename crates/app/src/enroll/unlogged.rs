//! The alarm for a certificate that an authority of ours signed and that stands in no registry and no log.
//!
//! Every certificate is in the registry before anybody gets it, so one that is not was issued by somebody who has the
//! authority's key; one that names nobody too, since we make none. Told once for each serial number while this server
//! runs, however often it is shown. An authority of somebody else may sign what is no affair of ours: what it signed counts
//! for a forgery only where it names a device of ours.

use std::collections::HashSet;

use fleetward_base::{TenantId, limits};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_pki::VerifiedNameless;
use fleetward_store::TenantTx;
use parking_lot::Mutex;
use serde_json::json;

use super::Attempt;
use super::refusal::{Fault, Refusal, UNKNOWN_CERTIFICATE, Whose};
use crate::App;
use crate::authority::ISSUING;
use crate::journal::record;

/// Serial numbers that were told of.
#[derive(Debug, Default)]
pub(crate) struct Unlogged(Mutex<HashSet<(TenantId, String)>>);

impl Unlogged {
    /// Whether it is news. Whoever shows ever new ones fills no memory: what is beyond the bound is told again.
    fn is_new(&self, tenant: &TenantId, serial: &str) -> bool {
        let mut told = self.0.lock();
        if told.len() >= limits::UNLOGGED_REMEMBERED {
            told.clear();
        }
        told.insert((tenant.clone(), serial.to_owned()))
    }
}

/// Whose a certificate is that names nobody, and why it opens nothing.
pub(crate) async fn nameless(app: &App, shown: VerifiedNameless) -> (Whose, Fault) {
    let VerifiedNameless { tenant, authority, serial, fingerprint } = shown;
    let whose = Whose { tenant: Some(tenant.clone()), serial: Some(serial.clone()), ..Whose::default() };
    let known = app.read(&tenant, "authority of a certificate", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let rows = tx.authorities().await?;
            let ours = rows.iter().any(|row| row.kind == ISSUING && row.fingerprint == authority);
            // Such as a registration authority of the tenant, or an attestation key's, which are no devices either.
            let other = tx.other_certificate(&serial).await?.is_some_and(|row| row.fingerprint == fingerprint);
            Ok(ours && !other && !rows.iter().any(|row| row.fingerprint == fingerprint))
        })
    });
    let fault = match known.await {
        Ok(true) => Refusal::credential(UNKNOWN_CERTIFICATE, "the certificate is not registered"),
        Ok(false) => Refusal::credential("foreign", "the certificate is not accepted"),
        Err(error) => Fault::Failed(error),
    };
    (whose, fault)
}

pub(super) async fn alarm(app: &App, attempt: &Attempt, whose: &Whose) {
    let (Some(tenant), Some(serial)) = (&whose.tenant, &whose.serial) else { return };
    if !app.unlogged().is_new(tenant, serial) {
        return;
    }
    tracing::error!(%tenant, %serial, "a certificate of an authority of ours is in no registry: is its key lost?");
    let actor = Actor::anonymous(attempt.address.to_string());
    let mut entry = Entry::refused(app.now(), actor, Action::CertificateUnlogged)
        .subject(serial)
        .severity(Severity::Critical)
        .detail(json!({ "address": attempt.address.to_string() }))
        .request(Some(attempt.request_id));
    if let Some(device) = &whose.device {
        entry = entry.device(device);
    }
    let written = app
        .write(tenant, "unlogged certificate", move |tx| Box::pin(async move { record(tx, &entry).await.map(drop) }));
    if let Err(error) = written.await {
        tracing::warn!(%error, "an unlogged certificate could not be journaled");
    }
}
