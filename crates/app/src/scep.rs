//! SCEP (RFC 8894): a message in, an answer out; what is decided about enrolment is decided in [`crate::enroll`].
//!
//! Where the tenant's policy does not offer it there is nothing. Messages are opened with the key of the tenant's
//! registration authority and answered by it. What a message did wrong is told in the protocol's own words inside of an
//! answer that is signed; only what is no message at all, and what is not the client's fault, is an [`Error`]. Each
//! refusal is journaled and costs the address a part of its allowance, so that nobody asks a million times how a
//! ciphertext decrypts.

mod lookup;
mod request;

use std::sync::Arc;

use fleetward_base::{TenantId, limits};
use fleetward_core::journal::Action;
use fleetward_pki::cms::enveloped::Cipher;
use fleetward_pki::scep::{self, Asks, FailInfo, Genuine, Message, Outcome, Refused};

use crate::App;
use crate::authority::{self, Registration};
use crate::enroll::Attempt;
use crate::enroll::refusal::{Fault, Refusal, Whose, settle};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;

/// # Errors
/// `NotFound` where the tenant does not offer SCEP, or there is no such tenant.
async fn offered(app: &App, tenant: &TenantId) -> Result<()> {
    let absent = Error::NotFound { what: "SCEP service" };
    match identity_policy(app, tenant).await {
        Ok(policy) if policy.scep.enabled => Ok(()),
        Ok(_) | Err(Error::NotFound { .. }) => Err(absent),
        Err(error) => Err(error),
    }
}

/// What this service can do (GetCACaps).
///
/// # Errors
/// `NotFound` where SCEP is not offered.
pub async fn capabilities(app: &App, tenant: &TenantId) -> Result<&'static [&'static str]> {
    offered(app, tenant).await?;
    Ok(&CAPABILITIES)
}

/// strongSwan before 5.9.11 misreads shorter lists (it finds no SHA-256 in them); this one it reads. What is weaker is not
/// listed, and answered with `badAlg` where somebody sends it all the same.
const CAPABILITIES: [&str; 9] =
    ["AES", "SHA-256", "SHA-384", "SHA-512", "SHA-224", "POSTPKIOperation", "SCEPStandard", "GetNextCACert", "Renewal"];

/// Whom a client deals with (GetCACert): the registration authority, the issuing authority and the root, in DER.
///
/// # Errors
/// `NotFound` where SCEP is not offered.
pub async fn authorities(app: &App, tenant: &TenantId) -> Result<Vec<Vec<u8>>> {
    offered(app, tenant).await?;
    let registration = authority::registration(app, tenant).await?;
    let mut list = vec![registration.current()?.certificate.der.clone()];
    list.extend(authority::authority_chain(app, Some(tenant)).await?);
    // Where an outside authority issues, ours still vouches for the registration authority.
    let issuing = authority::issuing(app, tenant).await?;
    if !list.contains(&issuing.certificate.der) {
        list.push(issuing.certificate.der.clone());
    }
    Ok(list)
}

/// The issuing authority that comes next (GetNextCACert), signed by the one in use.
///
/// # Errors
/// `NotFound` where SCEP is not offered, or where no other authority is prepared.
pub async fn next_authorities(app: &App, tenant: &TenantId) -> Result<Vec<u8>> {
    offered(app, tenant).await?;
    let next = authority::next_issuing(app, tenant).await?.ok_or(Error::NotFound { what: "next authority" })?;
    let now = app.now();
    let signed = authority::issuing(app, tenant).await?;
    let signed = signed.sign(move |issuer| scep::next_authorities(issuer, &[&next.der], now));
    signed.await?.map_err(Error::internal)
}

/// Answers a pkiMessage (PKIOperation).
///
/// # Errors
/// `NotFound` where SCEP is not offered, `Invalid` for what is no pkiMessage, `TooLarge`, `TooMany`; `Unavailable` and its
/// like. Every other refusal is within the answer.
pub async fn answer(app: &App, attempt: &Attempt, tenant: &TenantId, bytes: &[u8]) -> Result<Vec<u8>> {
    offered(app, tenant).await?;
    app.gate().check(attempt.address, app.clock().monotonic())?;
    if bytes.len() > limits::SCEP_MESSAGE_BYTES {
        return Err(Error::TooLarge { what: "a SCEP message", limit: limits::SCEP_MESSAGE_BYTES as u64 });
    }
    let message = match Message::read(bytes) {
        Ok(message) => message,
        Err(bad) => {
            let refusal = Refusal { cause: "scep-malformed", error: Error::invalid("message", bad.to_string()) };
            return Err(remember(app, attempt, tenant, refusal).await);
        }
    };
    let checked = message.check();
    let registration = match &checked {
        Ok(genuine) => addressed(app, tenant, genuine).await?,
        Err(_) => authority::registration(app, tenant).await?,
    };
    let responder = checked.as_ref().ok().and_then(|genuine| registration.addressed(genuine, app.now()));
    // What is for nobody is opened all the same, and reads as noise.
    let responder = responder.map_or_else(|| registration.current(), Ok)?;
    let cipher = checked.as_ref().map_or(Cipher::Aes128Cbc, Genuine::cipher);
    let asking = Asking { app, attempt, tenant, message: &message };
    let fate = match checked.and_then(|genuine| genuine.open(responder.holder(), responder.key())) {
        Ok(asks) => asking.serve(asks).await?,
        Err(refused) => asking.refuse(refused).await,
    };
    let der;
    let outcome = match fate {
        Fate::Certificate(leaf) => {
            der = leaf;
            Outcome::Certificates(&[&der])
        }
        Fate::List(list) => {
            der = list;
            Outcome::RevocationList(&der)
        }
        Fate::Wait => Outcome::Pending,
        Fate::Refused(refused) => Outcome::Failed(refused),
    };
    let issuing = authority::issuing(app, tenant).await?;
    let chain = [issuing.certificate.der.as_slice()];
    scep::answer(app.rng().as_ref(), app.now(), responder, &chain, &message, cipher, &outcome).map_err(Error::internal)
}

/// The tenant's registration authorities; where none of them is meant, those that another server made meanwhile too.
async fn addressed(app: &App, tenant: &TenantId, genuine: &Genuine<'_>) -> Result<Arc<Registration>> {
    let known = authority::registration(app, tenant).await?;
    if known.addressed(genuine, app.now()).is_some() {
        return Ok(known);
    }
    authority::registration_anew(app, tenant).await
}

async fn remember(app: &App, attempt: &Attempt, tenant: &TenantId, refusal: Refusal) -> Error {
    let whose = Whose { tenant: Some(tenant.clone()), ..Whose::default() };
    settle(app, attempt, Action::EnrollmentRefused, whose, Fault::Refused(refusal)).await
}

/// What an answer will say.
#[derive(Debug)]
enum Fate {
    /// In DER.
    Certificate(Vec<u8>),
    /// Of revoked certificates, in DER.
    List(Vec<u8>),
    Wait,
    Refused(Refused),
}

/// A message that is being answered.
struct Asking<'a> {
    app: &'a App,
    attempt: &'a Attempt,
    tenant: &'a TenantId,
    message: &'a Message,
}

impl Asking<'_> {
    async fn serve(&self, asks: Asks) -> Result<Fate> {
        match asks {
            Asks::Certificate(csr, der) => self.certificate(*csr, &der).await,
            Asks::Poll { subject, .. } => self.poll(&subject).await,
            Asks::IssuedCertificate { issuer, serial } => self.issued(&issuer, &serial).await,
            Asks::RevocationList { issuer, serial } => self.list(&issuer, &serial).await,
        }
    }

    /// Refuses by a rule of SCEP itself.
    async fn refuse(&self, refused: Refused) -> Fate {
        let cause = match refused.info {
            FailInfo::BadAlg => "scep-bad-alg",
            FailInfo::BadMessageCheck => "scep-bad-message-check",
            FailInfo::BadRequest => "scep-bad-request",
            FailInfo::BadTime => "scep-bad-time",
            FailInfo::BadCertId => "scep-bad-cert-id",
        };
        let refusal = Refusal { cause, error: Error::invalid("message", refused.text.clone()) };
        remember(self.app, self.attempt, self.tenant, refusal).await;
        Fate::Refused(refused)
    }
}

/// What a use case said no to, in SCEP's words; it was journaled there.
fn told(error: Error) -> Result<Fate> {
    let text = match error {
        Error::Pending { .. } => return Ok(Fate::Wait),
        Error::Unauthenticated { reason } => reason.to_owned(),
        Error::Conflict { reason, .. } | Error::Untrusted { reason, .. } | Error::Invalid { reason, .. } => reason,
        Error::NotFound { .. } | Error::Denied { .. } | Error::Stale { .. } => error.to_string(),
        Error::TooMany { .. }
        | Error::TooLarge { .. }
        | Error::StorageFull
        | Error::Unavailable { .. }
        | Error::Internal(_) => return Err(error),
    };
    Ok(Fate::Refused(Refused::new(FailInfo::BadRequest, text)))
}
