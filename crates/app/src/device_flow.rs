//! Human in the loop: the OAuth 2.0 device authorization grant (RFC 8628) for enrolment.
//!
//! A device that has nothing to show asks, shows a short code to whoever stands before it, and polls; a person with the right
//! to decide compares and approves ([`crate::enrollment_requests`]); the device gets an enrolment token, which EST takes.
//! With its request for a certificate it says which key is to be approved, and the token is then good for that request
//! alone.

use std::collections::HashMap;
use std::time::Duration;

use fleetward_attest::evidence::unhex;
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, TokenId, limits};
use fleetward_core::approval::{self, INTERVAL_S, Poll, State};
use fleetward_core::enrolment::Way;
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_pki::csr;
use fleetward_store::{EnrollTokenRow, EnrollmentRequestRow, Of, SystemTx, TenantTx};
use parking_lot::Mutex;
use serde_json::json;

use crate::App;
use crate::enroll::Attempt;
use crate::enroll::approval::{Asking, ask, hex};
use crate::enroll::refusal::Fault;
use crate::enroll_tokens::Presented;
use crate::enrollment_requests::standing_of;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::token::{TokenHash, TokenKind, generate, hash};

/// How long the token holds that a device gets.
const TOKEN_LIFE: Duration = Duration::from_secs(600);

/// What a device is told when it has asked.
#[derive(Debug)]
pub struct Asked {
    pub device_code: Secret<String>,
    pub user_code: String,
    /// Where a person goes.
    pub verification_uri: String,
    pub verification_uri_complete: String,
    pub expires_in: Duration,
    pub interval_s: u32,
}

/// What a device gets when somebody has approved.
#[derive(Debug)]
pub struct Granted {
    pub device: DeviceId,
    pub token: Secret<String>,
    pub expires_in: Duration,
}

/// How a poll ended (RFC 8628 §3.5).
#[derive(Debug)]
pub enum Polled {
    Granted(Granted),
    Pending,
    SlowDown {
        interval_s: u32,
    },
    Denied,
    Expired,
    /// There is no such code.
    Unknown,
}

/// When each code was polled last, and the pause that it was told. In memory: polls must not become writes.
#[derive(Debug, Default)]
pub(crate) struct Polls {
    known: Mutex<HashMap<TokenHash, (Duration, u32)>>,
}

impl Polls {
    fn note(&self, code: TokenHash, now: Duration) -> (Option<Duration>, u32) {
        let mut known = self.known.lock();
        let most = usize::try_from(limits::ENROLLMENT_REQUESTS).unwrap_or(usize::MAX);
        if known.len() >= most && !known.contains_key(&code) {
            known.retain(|_, (at, _)| now.saturating_sub(*at) < limits::DEVICE_FLOW_LIFE);
            if known.len() >= most {
                return (None, INTERVAL_S);
            }
        }
        let (at, interval_s) = known.entry(code).or_insert((now, INTERVAL_S));
        let since = now.saturating_sub(*at);
        let first = since.is_zero() && *interval_s == INTERVAL_S && *at == now;
        *at = now;
        (if first { None } else { Some(since) }, *interval_s)
    }

    fn slow_down(&self, code: TokenHash, interval_s: u32) {
        if let Some((_, known)) = self.known.lock().get_mut(&code) {
            *known = interval_s;
        }
    }

    fn forget(&self, code: &TokenHash) {
        self.known.lock().remove(code);
    }
}

/// A device asks to be let in. `client_id` is the tenant's id scope.
///
/// # Errors
/// `Unauthenticated` for a scope that there is not; `Invalid` with the field; `TooMany`, by address, device or tenant.
pub async fn authorize_device(
    app: &App,
    attempt: &Attempt,
    client_id: &str,
    device: Option<&str>,
    csr_der: Option<&[u8]>,
) -> Result<Asked> {
    let now = app.clock().monotonic();
    app.gate().check(attempt.address, now)?;
    // Whoever asks writes: each time costs a part of the address's allowance.
    app.gate().debit(attempt.address, now);
    let scope = client_id.to_owned();
    let tenant = app
        .store()
        .system_read("tenant by id scope", move |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.tenant_by_id_scope(&scope).await?) })
        })
        .await?
        .ok_or(Error::Unauthenticated { reason: "no such client" })?;
    let code = generate(TokenKind::DeviceCode, app.rng().as_ref());
    let hashed = hash(TokenKind::DeviceCode, code.expose()).ok_or_else(|| Error::internal("a code that is none"))?;
    let asking = asking(app, &tenant, device, csr_der, &hashed)?;
    let (app_in, attempt) = (app.clone(), *attempt);
    let asked = app
        .store()
        .write(&tenant, "authorize device", move |tx: &mut TenantTx| {
            Box::pin(async move { ask(&app_in, tx, &attempt, asking).await })
        })
        .await;
    let user_code = asked.map_err(|fault| match fault {
        Fault::Failed(error) => error,
        Fault::Refused(refusal) => refusal.error,
    })?;
    let verification_uri = format!("{}/activate", app.settings()?.operator_url);
    Ok(Asked {
        verification_uri_complete: format!("{verification_uri}?user_code={user_code}"),
        verification_uri,
        device_code: code,
        user_code,
        expires_in: limits::DEVICE_FLOW_LIFE,
        interval_s: INTERVAL_S,
    })
}

fn asking(
    app: &App,
    tenant: &TenantId,
    device: Option<&str>,
    csr_der: Option<&[u8]>,
    hashed: &TokenHash,
) -> Result<Asking> {
    let csr = csr_der.map(csr::parse).transpose().map_err(|error| Error::invalid("csr", error.to_string()))?;
    let device: DeviceId = match device {
        Some(text) => text.parse().map_err(|bad: fleetward_base::BadId| Error::invalid("device", bad.to_string()))?,
        None => return Err(Error::invalid("device", "say under which name the device is to enrol")),
    };
    if let Some(csr) = &csr {
        csr.check_identity(tenant, &device).map_err(|error| Error::invalid("csr", error.to_string()))?;
    }
    Ok(Asking {
        id: csr.as_ref().map_or_else(|| hex(hashed), |csr| hex(&csr.request_hash(tenant))),
        device,
        way: Way::Approval,
        key_fingerprint: csr.as_ref().map(|csr| hex(&crate::enroll::approval::sha256(csr.spki()))),
        facts: json!({}),
        device_code: Some(hashed.to_vec()),
        expires_at: app.now().plus(limits::DEVICE_FLOW_LIFE),
    })
}

/// A device asks what has become of it.
///
/// # Errors
/// `TooMany` for an address that guesses; `Unavailable`.
pub async fn poll_device(app: &App, attempt: &Attempt, device_code: &str) -> Result<Polled> {
    let monotonic = app.clock().monotonic();
    app.gate().check(attempt.address, monotonic)?;
    let found = match hash(TokenKind::DeviceCode, device_code) {
        None => None,
        Some(hashed) => app
            .store()
            .system_read("enrollment request by code", move |tx: &mut SystemTx| {
                Box::pin(async move { Ok::<_, Error>(tx.enrollment_request_by_device_code(&hashed).await?) })
            })
            .await?
            .map(|of| (hashed, of)),
    };
    let Some((hashed, Of { tenant: Some(tenant), row })) = found else {
        app.gate().debit(attempt.address, monotonic);
        return Ok(Polled::Unknown);
    };
    let (since_last, interval_s) = app.polls().note(hashed, monotonic);
    match approval::poll(standing_of(&row)?, interval_s, since_last, app.now()) {
        Poll::Pending => Ok(Polled::Pending),
        Poll::SlowDown { interval_s } => {
            app.polls().slow_down(hashed, interval_s);
            Ok(Polled::SlowDown { interval_s })
        }
        Poll::Denied => {
            app.polls().forget(&hashed);
            Ok(Polled::Denied)
        }
        Poll::Expired => {
            app.polls().forget(&hashed);
            Ok(Polled::Expired)
        }
        Poll::Granted => grant(app, attempt, &tenant, row).await.map(Polled::Granted),
    }
}

/// Makes the device's token. Asked again, since the answer was lost, another one takes the place of the first.
async fn grant(app: &App, attempt: &Attempt, tenant: &TenantId, asked: EnrollmentRequestRow) -> Result<Granted> {
    let now = app.now();
    let token = generate(TokenKind::Enroll, app.rng().as_ref());
    let hashed = hash(TokenKind::Enroll, token.expose()).ok_or_else(|| Error::internal("a token that is none"))?;
    let id = TokenId::generate(app.clock().as_ref(), app.rng().as_ref());
    let (request_id, device) = (attempt.request_id, asked.device.clone());
    app.write(tenant, "grant enroll token", move |tx| {
        Box::pin(async move {
            let row = tx.enrollment_request_for_update(&asked.id).await?.ok_or(GONE)?;
            // What was approved, and not what somebody made of it meanwhile.
            let state: State = row.state.parse().map_err(Error::internal)?;
            if row.device_code != asked.device_code || !matches!(state, State::Approved | State::Used) {
                return Err(GONE);
            }
            if let Some(earlier) = row.token {
                let used = tx.enroll_token(earlier).await?.is_some_and(|token| token.used_at.is_some());
                if used {
                    return Err(Error::conflict("used", "the device has enrolled with it"));
                }
                tx.revoke_enroll_token(earlier, now).await?;
            }
            tx.insert_enroll_token(&token_row(id, &row, &hashed, now)?).await?;
            let entry = Entry::done(now, Actor::device(&row.device), Action::EnrollTokenCreated);
            let detail = json!({ "by": "device flow", "approved_by": row.decided_by, "request": row.id });
            record(tx, &entry.device(&row.device).subject(id).detail(detail).request(Some(request_id))).await?;
            // With a key the request stays approved: it is used up when the certificate for it is issued.
            let state = if row.key_fingerprint.is_some() { state } else { State::Used };
            let row = EnrollmentRequestRow { token: Some(id), state: state.to_string(), ..row };
            tx.update_enrollment_request(&row).await?;
            Ok(())
        })
    })
    .await?;
    Ok(Granted { device, token, expires_in: TOKEN_LIFE })
}

const GONE: Error = Error::NotFound { what: "enrolment request" };

fn token_row(id: TokenId, row: &EnrollmentRequestRow, hashed: &TokenHash, now: Timestamp) -> Result<EnrollTokenRow> {
    // A person looked at this key, and at no other: the token is good for the request that was shown.
    let bound = match row.key_fingerprint {
        Some(_) => Some(unhex(&row.id).ok_or_else(|| Error::internal("a request whose id is not in hex"))?),
        None => None,
    };
    Ok(EnrollTokenRow {
        id,
        kind: Presented::Basic.as_str().to_owned(),
        device: row.device.clone(),
        hash: hashed.to_vec(),
        attempts: 0,
        created_by: row.decided_by.clone().unwrap_or_else(|| "device flow".to_owned()),
        created_at: now,
        expires_at: now.plus(TOKEN_LIFE),
        used_at: None,
        used_csr: bound,
        revoked_at: None,
    })
}
