//! Renewal: the certificate in use against a new one.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::{IdentityPolicy, KeyReuse, RenewalPolicy};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::lifecycle::Status;
use fleetward_core::rotation::Standing;
use fleetward_pki::trust::{Presented, TrustError};
use fleetward_pki::{Certificate, Csr, Verified};
use fleetward_store::{CertificateRow, TenantTx};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::channel::Request;
use super::hardware::Asker;
use super::recognise::{bound, whose};
use super::refusal::{Fault, Refusal, UNKNOWN_CERTIFICATE, Whose, settle, settled};
use super::{Attempt, Enrolled, hardware, issue, ladder, unlogged};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::registry::device_of;
use crate::{App, attestation, authority, deny_list};

const HOUR: Duration = Duration::from_secs(3600);
/// Earlier certificates of a device whose keys a new request is held against.
const EARLIER: u32 = 16;

/// Issues another certificate to the device that proved to hold `presented` in its TLS hand-shake. The request has the
/// same subject, byte by byte; a missing alternative name is derived again (RFC 7030 §4.2.2). The old certificate counts
/// until the new one is first used, and for its grace after that. The same request gets the same new certificate for as
/// long as the old one is shown. A certificate that has ended is renewed with only as far as the tenant's policy says.
///
/// # Errors
/// `Unauthenticated` for a certificate that is not of this installation, expired, revoked, superseded, or of another
/// tenant than `label`; `Invalid` for a request that breaks a rule; `Conflict` for a device that may not renew;
/// `TooMany`.
pub async fn reenroll_device<'a>(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    presented: &CertificateDer<'_>,
    request: impl Into<Request<'a>>,
) -> Result<Enrolled> {
    app.gate().check(attempt.address, app.clock().monotonic())?;
    let verified = match identify(app, presented).await {
        Ok(verified) => verified,
        Err((whose, fault)) => {
            let cause = if let Fault::Refused(refusal) = &fault { refusal.cause } else { "failed" };
            app.traffic().renewal_ended(None, app.clock().monotonic(), Some(cause));
            return Err(settle(app, attempt, Action::EnrollmentRefused, whose, fault).await);
        }
    };
    let whose = Whose {
        tenant: Some(verified.tenant.clone()),
        device: Some(verified.device.clone()),
        token: None,
        serial: Some(verified.serial.clone()),
    };
    let renewed = renew(app, attempt, label, verified, presented, request.into()).await;
    let cause = match &renewed {
        Ok(_) => None,
        Err(Fault::Refused(refusal)) => Some(refusal.cause),
        Err(Fault::Failed(Error::TooMany { .. })) => Some("pace"),
        Err(Fault::Failed(_)) => Some("failed"),
    };
    // Whoever is told to come back has not failed.
    let counted = whose.tenant.as_ref().filter(|_| cause != Some("pace"));
    app.traffic().renewal_ended(counted, app.clock().monotonic(), cause);
    settled(app, attempt, Action::EnrollmentRefused, whose, renewed).await
}

/// Whose certificate it is. One that has ended is known too; what comes of that is decided by the tenant's policy.
async fn identify(app: &App, presented: &CertificateDer<'_>) -> Result<Verified, (Whose, Fault)> {
    let refused =
        |error: TrustError| (Whose::default(), Refusal::credential(error.code(), "the certificate is not accepted"));
    // Bound here, so that the index is not held while the store is asked.
    let known = authority::trust(app).load().identify(presented, &[], app.now(), limits::EXPIRED_ACCEPTED);
    match known.map_err(refused)? {
        Presented::Device(verified) => Ok(verified),
        Presented::Unbound(unbound) => {
            let whose = whose(&unbound);
            bound(app, unbound).await.map_err(|fault| (whose, fault))
        }
        Presented::Nameless(shown) => Err(unlogged::nameless(app, shown).await),
        Presented::Claim(_) | Presented::Factory(_) => Err(refused(TrustError::Foreign)),
    }
}

async fn renew(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    verified: Verified,
    presented: &CertificateDer<'_>,
    request: Request<'_>,
) -> Result<Enrolled, Fault> {
    if label.is_some_and(|label| *label != verified.tenant) {
        return Err(Refusal::credential("foreign-certificate", "the certificate is of another tenant"));
    }
    let policies = identity_policy(app, &verified.tenant).await?;
    let policy = policies.renewal.clone();
    check_time(&policy, &verified, app.now())?;
    app.traffic().admit(&verified.tenant, app.clock().monotonic(), app.rng().as_ref())?;
    let csr = request.read(&policies.est)?;
    if deny_list::is_denied_certificate(app, &verified.tenant, &verified.serial, presented)
        || deny_list::is_denied_key(app, &verified.tenant, csr.spki())
    {
        return Err(Refusal::credential("denied", "the certificate or its key is on the deny list"));
    }
    csr.check_identity(&verified.tenant, &verified.device)?;
    let shown = Certificate::parse(presented).map_err(Error::internal)?;
    // One that names nobody is renewed by one that names its device: there is no subject to repeat.
    if shown.unbound().is_none() {
        csr.check_renews(&shown)?;
    }
    check_hardware(app, &verified, &policies, &csr).await?;
    let origin = issue::Origin { way: Way::Renewal, source: Some(verified.serial.clone()) };
    let signed = issue::sign(app, &verified.tenant, &verified.device, &csr, origin).await?;
    let (tenant, request_id, now) = (verified.tenant.clone(), attempt.request_id, app.now());
    let attestation = policies.attestation.clone();
    let row = app
        .store()
        .write(&tenant, "reenroll device", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let old = presented_row(tx, &verified, now, policy.expired()).await?;
                if old.status == Standing::Superseded.as_str() {
                    return Err(superseded());
                }
                let device = tx.device_for_update(&verified.device).await?.map(device_of).transpose()?;
                let ended = now > old.not_after;
                let may = |status| issue::may_renew(status) && (!ended || status == Status::Active);
                let device = device.filter(|device| may(device.status)).ok_or_else(|| {
                    refused("device-status", "life-cycle", "the device may not renew its certificate now")
                })?;
                let terms = policy.terms();
                // One that is in charge alone takes no step by being used.
                if old.status != Standing::Active.as_str() {
                    ladder::used(tx, &old, &terms, request_id, now).await?;
                }
                if let Some(same) = issued_for(tx, &old, &signed.request, now).await? {
                    return Ok(same);
                }
                check_pace(tx, &device.id, now).await?;
                check_window(tx, &policy, &old, now).await?;
                check_key(tx, &policy, &device.id, &csr).await?;
                let key = csr.spki();
                hardware::check(tx, &attestation, device.class, &device.id, key, Asker::Device, now).await?;
                let entry = Entry::done(now, Actor::device(&device.id), Action::CertificateRenewed)
                    .subject(&signed.serial)
                    .detail(json!({ "renews": old.serial }))
                    .request(Some(request_id));
                issue::keep(tx, &device, &signed, entry, &terms, request_id).await?;
                Ok::<_, Fault>(signed)
            })
        })
        .await?;
    Ok(Enrolled::of(&tenant, row))
}

fn refused(cause: &'static str, code: &'static str, why: &'static str) -> Fault {
    Fault::Refused(Refusal { cause, error: Error::conflict(code, why) })
}

fn superseded() -> Fault {
    Refusal::credential("superseded-certificate", "the certificate was superseded by another")
}

/// Which hardware has the key, where the class of the device needs to be known for that before anything is signed.
async fn check_hardware(app: &App, verified: &Verified, policy: &Arc<IdentityPolicy>, csr: &Csr) -> Result<(), Fault> {
    let (device, policy, now) = (verified.device.clone(), Arc::clone(policy), app.now());
    let (request, key) = (csr.request_hash(&verified.tenant), csr.spki().to_vec());
    app.store()
        .read(&verified.tenant, "hardware of a renewal", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let Some(record) = tx.device(&device).await? else { return Ok(()) };
                let class = record.class.parse().map_err(Error::internal)?;
                let asked = (&request[..], key.as_slice());
                hardware::check_first(tx, &policy.attestation, class, &device, asked, Asker::Device, now).await
            })
        })
        .await
}

/// A certificate that has ended may be renewed with for as long after that as the policy says.
fn check_time(policy: &RenewalPolicy, verified: &Verified, now: Timestamp) -> Result<(), Fault> {
    if now.since(verified.not_after) > policy.expired() {
        return Err(Refusal::credential(TrustError::Expired.code(), "the certificate is not accepted"));
    }
    Ok(())
}

/// Not before the window of the policy, where there is one; a device that was asked may at any time.
async fn check_window(
    tx: &mut TenantTx,
    policy: &RenewalPolicy,
    old: &CertificateRow,
    now: Timestamp,
) -> Result<(), Fault> {
    let early = policy.is_early(now.since(old.not_before), old.not_after.since(old.not_before));
    if early && tx.renewal_request(&old.device).await?.is_none() {
        return Err(refused("too-early", "too-early", "it is too early to renew this certificate"));
    }
    Ok(())
}

/// A new key for each certificate, where the policy says so, or asks for evidence that this one is in hardware.
async fn check_key(tx: &mut TenantTx, policy: &RenewalPolicy, device: &DeviceId, csr: &Csr) -> Result<(), Fault> {
    if policy.key_reuse == KeyReuse::Allow {
        return Ok(());
    }
    let earlier = tx.certificates(device, EARLIER).await?;
    let certified = |row: &CertificateRow| Certificate::parse(&row.der).is_ok_and(|earlier| earlier.spki == csr.spki());
    if !earlier.iter().any(certified) || policy.may_reuse(attestation::vouched_for(tx, device, csr.spki()).await?) {
        return Ok(());
    }
    let why = match policy.key_reuse {
        KeyReuse::Hardware => {
            "the key was certified before, and no evidence says that it is in hardware; make a new one"
        }
        KeyReuse::Allow | KeyReuse::Forbid => "the key was certified before; make a new one",
    };
    Err(Fault::Refused(Refusal { cause: "key-reuse", error: Error::invalid("request", why) }))
}

/// The row of the certificate that was shown, if it still counts; one that ended does for `lenient` after that.
pub(super) async fn presented_row(
    tx: &mut TenantTx,
    verified: &Verified,
    now: Timestamp,
    lenient: Duration,
) -> Result<CertificateRow, Fault> {
    let row = tx.certificate(&verified.serial).await?;
    let row = row.filter(|row| row.fingerprint == verified.fingerprint && row.device == verified.device);
    let Some(row) = row else {
        return Err(Refusal::credential(UNKNOWN_CERTIFICATE, "the certificate is not registered"));
    };
    match row.status.parse::<Standing>().map_err(Error::internal)? {
        Standing::Revoked => Err(Refusal::credential("revoked-certificate", "the certificate was revoked")),
        Standing::Pending | Standing::Retired => Err(superseded()),
        _ if now.since(row.not_after) > lenient => {
            Err(Refusal::credential(TrustError::Expired.code(), "the certificate is not accepted"))
        }
        Standing::Issued | Standing::Proven | Standing::Active | Standing::Superseded => Ok(row),
    }
}

/// A device that renews in a circle must not fill the store.
pub(super) async fn check_pace(tx: &mut TenantTx, device: &DeviceId, now: Timestamp) -> Result<(), Fault> {
    let newest = tx.certificates(device, limits::RENEWALS_PER_DEVICE_AND_HOUR).await?;
    let full = newest.len() >= usize::try_from(limits::RENEWALS_PER_DEVICE_AND_HOUR).unwrap_or(usize::MAX);
    let oldest = newest.last().map_or(Timestamp::EPOCH, |row| row.issued_at);
    let age = now.since(oldest);
    if full && age < HOUR {
        let error = Error::TooMany { what: "renewals of this device", retry_after: HOUR - age };
        return Err(Fault::Failed(error));
    }
    Ok(())
}

/// What the device got for the same request after the certificate that it shows: its answer was lost.
async fn issued_for(
    tx: &mut TenantTx,
    old: &CertificateRow,
    request: &[u8],
    now: Timestamp,
) -> Result<Option<CertificateRow>, Fault> {
    let row = tx.certificate_by_request(&old.device, request).await?;
    Ok(row.filter(|row| row.serial != old.serial && row.issued_at >= old.issued_at && super::usable(row, now)))
}
