//! The one place where a device's certificate is signed, whoever signs: the key of the tenant's issuing authority, or an
//! issuer elsewhere.
//!
//! Asked before the transaction that keeps the certificate. Nobody waits for it in the database, and one that is not
//! kept was never seen by anybody.

use std::sync::Arc;

use fleetward_base::{DeviceId, TenantId};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::leaf::{self, LeafError};
use fleetward_pki::{Csr, CsrError, Issued, Serial, Validity};
use fleetward_store::TenantTx;
use serde_json::json;

use super::external::{External, Turn};
use super::issuer::{TenantIssuer, issuer};
use super::issuing;
use super::standing::{REVOKED, standing_of};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, publication};

/// A certificate to be made.
pub(crate) struct Wish<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) device: &'a DeviceId,
    pub(crate) csr: &'a Csr,
    /// It may be shorter, never longer.
    pub(crate) validity: Validity,
}

impl Wish<'_> {
    /// The name that the certificate gives the device.
    pub(crate) fn uri(&self) -> String {
        fleetward_pki::Identity { tenant: self.tenant.clone(), device: self.device.clone() }.to_string()
    }
}

/// A certificate that was made, and the fingerprint of the authority that signed it.
#[derive(Clone, Debug)]
pub(crate) struct SignedLeaf {
    pub(crate) issued: Issued,
    pub(crate) authority: String,
}

/// Why none was made.
#[derive(Debug)]
pub(crate) enum LeafFault {
    /// The request breaks a rule.
    Request(CsrError),
    Failed(Error),
}

impl From<Error> for LeafFault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Has a certificate signed by whoever signs for the tenant.
pub(crate) async fn sign_leaf(app: &App, wish: &Wish<'_>) -> Result<SignedLeaf, LeafFault> {
    wish.csr.check_identity(wish.tenant, wish.device).map_err(LeafFault::Request)?;
    match issuer(app, wish.tenant).await? {
        TenantIssuer::BuiltIn => sign_here(app, wish).await,
        TenantIssuer::External(external) => sign_elsewhere(app, &external, wish).await,
    }
}

async fn sign_here(app: &App, wish: &Wish<'_>) -> Result<SignedLeaf, LeafFault> {
    let issuing = issuing(app, wish.tenant).await?;
    let serial = Serial::generate(app.rng().as_ref());
    let authority = issuing.certificate.fingerprint();
    let urls = publication::urls(app, wish.tenant, &authority, &serial.to_string()).await?;
    let (subject, validity) = ((wish.tenant.clone(), wish.device.clone(), wish.csr.clone()), wish.validity);
    let signing = issuing.sign(move |issuer| {
        leaf::issue_with(issuer, (&subject.0, &subject.1), &subject.2, serial, validity, urls.as_ref())
    });
    match signing.await? {
        Ok(issued) => Ok(SignedLeaf { issued, authority }),
        Err(LeafError::Request(error)) => Err(LeafFault::Request(error)),
        Err(LeafError::Issue(error)) => Err(LeafFault::Failed(Error::internal(error))),
    }
}

async fn sign_elsewhere(app: &App, external: &Arc<External>, wish: &Wish<'_>) -> Result<SignedLeaf, LeafFault> {
    let request = wish.csr.request_hash(wish.tenant);
    if let Some(known) = external.remembered(&request, app.clock().monotonic()) {
        if !is_kept(app, wish.tenant, &known).await? {
            return Ok(known);
        }
        // It was kept, and this is another wish for the same key.
        external.forget(&request);
    }
    let (outcome, turn) = external.sign(app, wish).await;
    if let Some(turn) = turn
        && let Err(error) = write_down(app, wish.tenant, external, turn).await
    {
        tracing::warn!(%error, "what became of an external issuer could not be journaled");
    }
    let signed = outcome.map_err(|failure| {
        tracing::warn!(tenant = %wish.tenant, kind = external.kind().as_str(), %failure, "the external issuer failed");
        LeafFault::Failed(Error::Unavailable { what: "the certificate issuer" })
    })?;
    if is_revoked(app, wish.tenant, &signed.authority).await? {
        tracing::warn!(tenant = %wish.tenant, authority = signed.authority, "the issuer signs with an authority that was revoked");
        return Err(LeafFault::Failed(Error::Unavailable { what: "the certificate issuer" }));
    }
    Ok(signed)
}

/// Whoever gets a certificate of such an authority would be refused with it.
async fn is_revoked(app: &App, tenant: &TenantId, authority: &str) -> Result<bool> {
    let authority = authority.to_owned();
    app.read(tenant, "authority is revoked", move |tx: &mut TenantTx| {
        Box::pin(async move { Ok(standing_of(&tx.authority_standings().await?, &authority) == REVOKED) })
    })
    .await
}

async fn is_kept(app: &App, tenant: &TenantId, signed: &SignedLeaf) -> Result<bool> {
    let serial = signed.issued.serial.to_string();
    app.read(tenant, "certificate is kept", move |tx: &mut TenantTx| {
        Box::pin(async move { Ok(tx.certificate(&serial).await?.is_some()) })
    })
    .await
}

async fn write_down(app: &App, tenant: &TenantId, external: &External, turn: Turn) -> Result<()> {
    let ctx = app.system("issuer");
    let now = app.now();
    let kind = external.kind().as_str();
    let entry = match turn {
        Turn::Recovered => ctx.done(now, Action::IssuerRecovered).detail(json!({ "kind": kind })),
        Turn::Failed(reason) => {
            let entry = ctx.done(now, Action::IssuerFailed).severity(Severity::Warning);
            entry.outcome(fleetward_core::journal::Outcome::Failed).detail(json!({ "kind": kind, "reason": reason }))
        }
    };
    app.write(tenant, "issuer turned", move |tx: &mut TenantTx| {
        Box::pin(async move {
            record(tx, &entry).await?;
            Ok(())
        })
    })
    .await
}
