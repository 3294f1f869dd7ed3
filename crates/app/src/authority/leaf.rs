//! The one place where a certificate of a device is signed, or of one that is to become a device, whoever signs: the key of
//! the tenant's issuing authority, or an issuer elsewhere.
//!
//! Asked before the transaction that keeps the certificate. Nobody waits for it in the database, and one that is not
//! kept was never seen by anybody.

use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp};
use fleetward_core::issuer::Purpose;
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::foreign::Named;
use fleetward_pki::identity::ClaimName;
use fleetward_pki::leaf::{self, LeafError};
use fleetward_pki::{Csr, CsrError, Issued, Serial, Validity, issue as pki};
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
    pub(crate) named: Named<'a>,
    pub(crate) csr: &'a Csr,
    /// It may be shorter, never longer.
    pub(crate) validity: Validity,
    /// Where somebody else signs it may last until then all the same: what counts is kept here.
    pub(crate) latest: Timestamp,
}

impl Wish<'_> {
    /// The one name of the certificate.
    pub(crate) fn uri(&self) -> String {
        self.named.uri(self.tenant)
    }

    pub(crate) fn common_name(&self) -> &str {
        self.named.common_name(self.csr)
    }

    fn purpose(&self) -> Purpose {
        match self.named {
            Named::Device(_) => Purpose::Device,
            Named::Claim(_) => Purpose::Claim,
            Named::Unbound(_) => Purpose::Waiting,
        }
    }
}

/// A certificate that was made, and the fingerprint of the authority that signed it.
#[derive(Clone, Debug)]
pub(crate) struct SignedLeaf {
    pub(crate) issued: Issued,
    pub(crate) authority: String,
    /// An issuer elsewhere has signed it.
    pub(crate) elsewhere: bool,
}

/// Why none was made.
#[derive(Debug)]
pub(crate) enum LeafFault {
    /// The request breaks a rule.
    Request(CsrError),
    Failed(Error),
}

impl LeafFault {
    /// For whoever asked with a request of this name.
    pub(crate) fn into_error(self, field: &'static str) -> Error {
        match self {
            Self::Request(error) => Error::invalid(field, error.to_string()),
            Self::Failed(error) => error,
        }
    }
}

impl From<Error> for LeafFault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Has a certificate signed by whoever signs for the tenant.
pub(crate) async fn sign_leaf(app: &App, wish: &Wish<'_>) -> Result<SignedLeaf, LeafFault> {
    match wish.named {
        Named::Device(device) => wish.csr.check_identity(wish.tenant, device),
        // What it says of itself is not taken over.
        Named::Claim(_) => Ok(()),
        Named::Unbound(_) => wish.csr.check_unbound(wish.tenant),
    }
    .map_err(LeafFault::Request)?;
    match issuer(app, wish.tenant).await? {
        TenantIssuer::External(external) if external.config().makes(wish.purpose()).is_ok() => {
            sign_elsewhere(app, &external, wish).await
        }
        TenantIssuer::BuiltIn | TenantIssuer::External(_) => sign_here(app, wish).await,
    }
}

async fn sign_here(app: &App, wish: &Wish<'_>) -> Result<SignedLeaf, LeafFault> {
    let issuing = issuing(app, wish.tenant).await?;
    let serial = Serial::generate(app.rng().as_ref());
    let authority = issuing.certificate.fingerprint();
    let urls = publication::urls(app, wish.tenant, &authority, &serial.to_string()).await?;
    let (tenant, csr, validity) = (wish.tenant.clone(), wish.csr.clone(), wish.validity);
    let signed = match wish.named {
        Named::Device(device) => {
            let device = device.clone();
            let sign = move |issuer: &pki::Issuer<'_>| {
                leaf::issue_with(issuer, (&tenant, &device), &csr, serial, validity, urls.as_ref())
            };
            issuing.sign(sign).await?
        }
        Named::Claim(name) => {
            let claim = ClaimName { tenant, claim: name.to_owned() };
            let sign =
                move |issuer: &pki::Issuer<'_>| leaf::claim(issuer, &claim, &csr, serial, validity, urls.as_ref());
            issuing.sign(sign).await?
        }
        Named::Unbound(_) => {
            let sign =
                move |issuer: &pki::Issuer<'_>| leaf::unbound(issuer, &tenant, &csr, serial, validity, urls.as_ref());
            issuing.sign(sign).await?
        }
    };
    match signed {
        Ok(issued) => Ok(SignedLeaf { issued, authority, elsewhere: false }),
        Err(LeafError::Request(error)) => Err(LeafFault::Request(error)),
        Err(LeafError::Issue(error)) => Err(LeafFault::Failed(Error::internal(error))),
    }
}

async fn sign_elsewhere(app: &App, external: &Arc<External>, wish: &Wish<'_>) -> Result<SignedLeaf, LeafFault> {
    let request = wish.csr.request_hash(wish.tenant);
    let remembered = external.remembered(&request, app.clock().monotonic());
    // Of claims and of what waits each wish is one of its own.
    if let Some(known) = remembered.filter(|_| wish.purpose() == Purpose::Device) {
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
