//! First enrolment: a one-time token against a certificate.

use fleetward_base::{TenantId, Timestamp, TokenId, limits};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::lifecycle;
use fleetward_pki::{Csr, csr};
use fleetward_store::{CertificateRow, EnrollTokenRow, SystemTx, TenantTx};
use serde_json::json;

use super::refusal::{Fault, Refusal, Whose, settle};
use super::{Attempt, Credentials, Enrolled, issue, usable};
use crate::App;
use crate::error::Result;
use crate::token::{TokenKind, hash};

/// Issues the first certificate of the device that the token names, and registers the device where it is not known yet.
/// `label` is the tenant that the request is addressed to; without one the token says which.
///
/// The token is used up by it. The same request with the same token gets the same certificate again, so a device that
/// did not hear the answer may ask again.
///
/// # Errors
/// `Unauthenticated` for a token that is malformed, unknown, of another tenant or device, expired, revoked, used or
/// blocked; `Invalid` for a request that breaks a rule; `Conflict` for a device that may not enrol; `TooMany`.
pub async fn enroll_device(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
    csr_der: &[u8],
) -> Result<Enrolled> {
    app.gate().check(attempt.address, app.clock().monotonic())?;
    let (tenant, token) = match find(app, label, credentials).await {
        Ok(found) => found,
        Err(fault) => {
            return Err(settle(app, attempt, Action::EnrollmentRefused, Whose::default(), fault).await);
        }
    };
    let whose =
        Whose { tenant: Some(tenant.clone()), device: Some(token.device.clone()), token: Some(token.id), serial: None };
    match enroll(app, attempt, tenant, token, credentials, csr_der).await {
        Ok(enrolled) => Ok(enrolled),
        Err(fault) => Err(settle(app, attempt, Action::EnrollmentRefused, whose, fault).await),
    }
}

async fn find(
    app: &App,
    label: Option<&TenantId>,
    credentials: &Credentials,
) -> Result<(TenantId, EnrollTokenRow), Fault> {
    let Some(hash) = hash(TokenKind::Enroll, credentials.token.expose()) else {
        return Err(Refusal::credential("malformed-token", "the enrolment token is malformed"));
    };
    let found = app
        .store()
        .system_read("enroll token by hash", move |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Fault>(tx.enroll_token_by_hash(&hash).await?) })
        })
        .await?;
    // Not even the bearer of a token learns from one label that it is good under another.
    let unknown = |cause| Refusal::credential(cause, "there is no such enrolment token");
    match found.and_then(|of| of.tenant.map(|tenant| (tenant, of.row))) {
        None => Err(unknown("unknown-token")),
        Some((tenant, _)) if label.is_some_and(|label| *label != tenant) => Err(unknown("foreign-token")),
        Some(found) => Ok(found),
    }
}

async fn enroll(
    app: &App,
    attempt: &Attempt,
    tenant: TenantId,
    token: EnrollTokenRow,
    credentials: &Credentials,
    csr_der: &[u8],
) -> Result<Enrolled, Fault> {
    let (now, request_id) = (app.now(), attempt.request_id);
    if credentials.device != token.device.as_str() {
        return Err(Refusal::credential("foreign-device", "the enrolment token is of another device"));
    }
    check_standing(&token)?;
    let csr: Csr = csr::parse(csr_der)?;
    csr.check_identity(&tenant, &token.device)?;
    let request = csr.request_hash(&tenant);
    check_use(&token, &request, now)?;
    let signed = match token.used_at {
        None => Some(issue::sign(app, &tenant, &token.device, &csr).await?),
        Some(_) => None,
    };
    let id = token.id;
    let row = app
        .store()
        .write(&tenant, "enroll device", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let token = tx.enroll_token_for_update(id).await?;
                let token = token.ok_or_else(|| Refusal::credential("unknown-token", "there is no such token"))?;
                check_standing(&token)?;
                check_use(&token, &request, now)?;
                match signed {
                    Some(row) if token.used_at.is_none() => use_token(tx, id, row, request_id).await,
                    // Somebody was quicker with the same request: both get what that one got.
                    _ => issued_before(tx, &token, &request, now).await,
                }
            })
        })
        .await?;
    Ok(Enrolled::of(&tenant, row))
}

fn check_standing(token: &EnrollTokenRow) -> Result<(), Fault> {
    if token.revoked_at.is_some() {
        return Err(Refusal::credential("revoked-token", "the enrolment token was revoked"));
    }
    if token.attempts >= u64::from(limits::ENROLL_PER_TOKEN_ATTEMPTS) {
        return Err(Refusal::credential("blocked-token", "the enrolment token was tried too often; make another"));
    }
    Ok(())
}

/// A token that was used counts for the request that it was used for, also after its time.
fn check_use(token: &EnrollTokenRow, request: &[u8], now: Timestamp) -> Result<(), Fault> {
    match &token.used_csr {
        Some(used) if used == request => Ok(()),
        Some(_) => Err(Refusal::credential("used-token", "the enrolment token was used before")),
        None if token.expires_at <= now => Err(Refusal::credential("expired-token", "the enrolment token has expired")),
        None => Ok(()),
    }
}

async fn use_token(
    tx: &mut TenantTx,
    token: TokenId,
    row: CertificateRow,
    request_id: fleetward_base::RequestId,
) -> Result<CertificateRow, Fault> {
    let now = row.issued_at;
    let device = issue::device_for_enrolment(tx, &row.device, request_id, now).await?;
    tx.use_enroll_token(token, &row.request, now).await?;
    let entry = Entry::done(now, Actor::device(&row.device), Action::CertificateIssued)
        .subject(&row.serial)
        .detail(json!({ "token": token.to_string() }))
        .request(Some(request_id));
    issue::keep(tx, &device, &row, entry).await?;
    Ok(row)
}

async fn issued_before(
    tx: &mut TenantTx,
    token: &EnrollTokenRow,
    request: &[u8],
    now: Timestamp,
) -> Result<CertificateRow, Fault> {
    let device = tx.device(&token.device).await?;
    let status = device.as_ref().and_then(|device| device.status.parse().ok());
    let row = tx.certificate_by_request(&token.device, request).await?;
    row.filter(|row| usable(row, now) && status.is_some_and(lifecycle::may_connect))
        .ok_or_else(|| Refusal::credential("used-token", "the enrolment token was used before"))
}
