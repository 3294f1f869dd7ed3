//! Renewal: the certificate in use against a new one.

use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::enrolment::Way;
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_pki::{Certificate, Verified, csr};
use fleetward_store::{CertificateRow, TenantTx};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::refusal::{Fault, Refusal, Whose, settle};
use super::{Attempt, Enrolled, issue, standing, usable};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::device_of;
use crate::{App, authority};

const HOUR: Duration = Duration::from_secs(3600);

/// Issues another certificate to the device that proved to hold `presented` in its TLS hand-shake. The request has the
/// same subject, byte by byte; a missing alternative name is derived again (RFC 7030 §4.2.2). The old certificate counts
/// until the new one is first used. The same request gets the same new certificate for as long as the old one is shown.
///
/// # Errors
/// `Unauthenticated` for a certificate that is not of this installation, expired, revoked, superseded, or of another
/// tenant than `label`; `Invalid` for a request that breaks a rule; `Conflict` for a device that may not renew;
/// `TooMany`.
pub async fn reenroll_device(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    presented: &CertificateDer<'_>,
    csr_der: &[u8],
) -> Result<Enrolled> {
    app.gate().check(attempt.address, app.clock().monotonic())?;
    let verified = match authority::trust(app).load().verify(presented, &[], app.now()) {
        Ok(verified) => verified,
        Err(error) => {
            let fault = Refusal::credential(error.code(), "the certificate is not accepted");
            return Err(settle(app, attempt, Action::EnrollmentRefused, Whose::default(), fault).await);
        }
    };
    let whose = Whose {
        tenant: Some(verified.tenant.clone()),
        device: Some(verified.device.clone()),
        token: None,
        serial: Some(verified.serial.clone()),
    };
    match renew(app, attempt, label, verified, presented, csr_der).await {
        Ok(enrolled) => Ok(enrolled),
        Err(fault) => Err(settle(app, attempt, Action::EnrollmentRefused, whose, fault).await),
    }
}

async fn renew(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    verified: Verified,
    presented: &CertificateDer<'_>,
    csr_der: &[u8],
) -> Result<Enrolled, Fault> {
    if label.is_some_and(|label| *label != verified.tenant) {
        return Err(Refusal::credential("foreign-certificate", "the certificate is of another tenant"));
    }
    let csr = csr::parse(csr_der)?;
    csr.check_identity(&verified.tenant, &verified.device)?;
    csr.check_renews(&Certificate::parse(presented).map_err(Error::internal)?)?;
    let origin = issue::Origin { way: Way::Renewal, source: Some(verified.serial.clone()) };
    let signed = issue::sign(app, &verified.tenant, &verified.device, &csr, origin).await?;
    let (tenant, request_id, now) = (verified.tenant.clone(), attempt.request_id, app.now());
    let row = app
        .store()
        .write(&tenant, "reenroll device", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let old = presented_row(tx, &verified, now).await?;
                let device = tx.device_for_update(&verified.device).await?.map(device_of).transpose()?;
                let device = device.filter(|device| issue::may_renew(device.status)).ok_or_else(|| {
                    let error = Error::conflict("life-cycle", "the device may not renew its certificate now");
                    Fault::Refused(Refusal { cause: "device-status", error })
                })?;
                issue::prove(tx, &old, request_id, now).await?;
                if let Some(same) = issued_for(tx, &old, &signed.request, now).await? {
                    return Ok(same);
                }
                check_pace(tx, &device.id, now).await?;
                let entry = |action| Entry::done(now, Actor::device(&device.id), action).request(Some(request_id));
                // Of those that were never used only the newest counts, or they would pile up.
                for serial in tx.supersede_unproven(&device.id, &old.serial).await? {
                    let entry = entry(Action::CertificateSuperseded).device(&device.id).subject(&serial);
                    record(tx, &entry.detail(json!({ "by": signed.serial }))).await?;
                }
                let entry = entry(Action::CertificateRenewed).subject(&signed.serial);
                issue::keep(tx, &device, &signed, entry.detail(json!({ "renews": old.serial }))).await?;
                Ok::<_, Fault>(signed)
            })
        })
        .await?;
    Ok(Enrolled::of(&tenant, row))
}

/// The row of the certificate that was shown, if it still counts.
pub(super) async fn presented_row(
    tx: &mut TenantTx,
    verified: &Verified,
    now: Timestamp,
) -> Result<CertificateRow, Fault> {
    let row = tx.certificate(&verified.serial).await?;
    let row = row.filter(|row| row.fingerprint == verified.fingerprint && row.device == verified.device);
    match row {
        Some(row) if usable(&row, now) => Ok(row),
        Some(row) if row.status == standing::REVOKED => {
            Err(Refusal::credential("revoked-certificate", "the certificate was revoked"))
        }
        Some(_) => Err(Refusal::credential("superseded-certificate", "the certificate was superseded by another")),
        None => Err(Refusal::credential("unknown-certificate", "the certificate is not registered")),
    }
}

/// A device that renews in a circle must not fill the store.
async fn check_pace(tx: &mut TenantTx, device: &DeviceId, now: Timestamp) -> Result<(), Fault> {
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
    Ok(row.filter(|row| row.serial != old.serial && row.issued_at >= old.issued_at && usable(row, now)))
}
