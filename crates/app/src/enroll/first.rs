//! First enrolment: a one-time token, or a symmetric key, against a certificate.

use async_trait::async_trait;
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, TokenId, limits};
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::{ChallengePassword, IdentityPolicy};
use fleetward_core::journal::Action;
use fleetward_core::registry::DeviceFields;
use fleetward_core::token_issuer::looks_like_token;
use fleetward_pki::csr;
use fleetward_store::{EnrollTokenRow, SystemTx, TenantTx};

use super::channel::Request;
use super::newcomer::{self, Consume, Newcomer, Use};
use super::refusal::{Fault, Refusal, Whose, settle, settled};
use super::{Attempt, Credentials, Enrolled, bearer, symmetric};
use crate::App;
use crate::error::Result;
use crate::identity_policy::identity_policy;
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
pub async fn enroll_device<'a>(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
    request: impl Into<Request<'a>>,
) -> Result<Enrolled> {
    redeem(app, attempt, label, credentials, request.into(), false).await
}

/// As [`enroll_device`], for a request whose challengePassword is the token and whose common name is the device. Only where
/// the tenant's policy takes it for that.
///
/// # Errors
/// As [`enroll_device`]; `Unauthenticated` where the request has no password.
pub async fn enroll_by_password(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    request: Request<'_>,
) -> Result<Enrolled> {
    let told = csr::parse(request.der).map_err(Fault::from).and_then(|csr| {
        let password = csr.challenge_password().and_then(|password| String::from_utf8(password.to_vec()).ok());
        let device = csr.common_name().map(str::to_owned);
        device.zip(password).ok_or_else(|| Refusal::credential("no-credential", "the request has no credential"))
    });
    match told {
        Ok((device, token)) => {
            let credentials = Credentials { device, token: Secret::new(token) };
            redeem(app, attempt, label, &credentials, request, true).await
        }
        Err(fault) => Err(settle(app, attempt, Action::EnrollmentRefused, Whose::default(), fault).await),
    }
}

async fn redeem(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
    request: Request<'_>,
    by_password: bool,
) -> Result<Enrolled> {
    app.gate().check(attempt.address, app.clock().monotonic())?;
    if !by_password && looks_like_token(credentials.token.expose()) {
        return bearer::enroll(app, attempt, label, credentials, request).await;
    }
    if let Some(key) = symmetric::key_of(credentials).filter(|_| !by_password) {
        return enroll_by_key(app, attempt, label, credentials, &key, request).await;
    }
    let (tenant, token) = match find(app, label, TokenKind::Enroll, credentials.token.expose()).await {
        Ok(found) => found,
        Err(fault) => {
            return Err(settle(app, attempt, Action::EnrollmentRefused, Whose::default(), fault).await);
        }
    };
    let whose =
        Whose { tenant: Some(tenant.clone()), device: Some(token.device.clone()), token: Some(token.id), serial: None };
    let policy = identity_policy(app, &tenant).await?;
    let outcome = if by_password && policy.est.challenge_password != ChallengePassword::Token {
        Err(Refusal::credential("password-is-no-token", "there is no such enrolment token"))
    } else {
        enroll(app, attempt, tenant, token, credentials, request, &policy).await
    };
    settled(app, attempt, Action::EnrollmentRefused, whose, outcome).await
}

/// Whose a credential is, without using it up: for who shows something before it enrols.
///
/// # Errors
/// `Unauthenticated` for one that would not count at an enrolment now; `TooMany`.
pub(crate) async fn holder(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
) -> Result<(TenantId, DeviceId)> {
    app.gate().check(attempt.address, app.clock().monotonic())?;
    match find_holder(app, label, credentials).await {
        Ok(found) => Ok(found),
        Err((whose, fault)) => Err(settle(app, attempt, Action::EnrollmentRefused, whose, fault).await),
    }
}

async fn find_holder(
    app: &App,
    label: Option<&TenantId>,
    credentials: &Credentials,
) -> Result<(TenantId, DeviceId), (Whose, Fault)> {
    if looks_like_token(credentials.token.expose()) {
        return bearer::holder(app, label, credentials).await;
    }
    if let Some(key) = symmetric::key_of(credentials) {
        let tenant = label.cloned().or_else(|| app.settings().ok()?.default_tenant.clone());
        let device = credentials.device.parse::<DeviceId>().ok();
        let whose = Whose { tenant: tenant.clone(), device: device.clone(), ..Whose::default() };
        let Some((tenant, device)) = tenant.zip(device) else {
            return Err((whose, Refusal::credential("no-tenant", "say which tenant, and which device by the user")));
        };
        let shown = symmetric::Shown::Key(key.expose());
        return match symmetric::find(app, &tenant, &device, &shown).await {
            Ok(_) => Ok((tenant, device)),
            Err(fault) => Err((whose, fault)),
        };
    }
    let found = find(app, label, TokenKind::Enroll, credentials.token.expose()).await;
    let (tenant, token) = found.map_err(|fault| (Whose::default(), fault))?;
    let whose =
        Whose { tenant: Some(tenant.clone()), device: Some(token.device.clone()), token: Some(token.id), serial: None };
    let counts = || {
        if !credentials.device.is_empty() && credentials.device != token.device.as_str() {
            return Err(Refusal::credential("foreign-device", "the enrolment token is of another device"));
        }
        check_standing(&token)?;
        if token.used_at.is_some() {
            return Err(Refusal::credential("used-token", "the enrolment token was used before"));
        }
        check_use(&token, &[], app.now())
    };
    counts().map_err(|fault| (whose, fault))?;
    Ok((tenant, token.device))
}

/// With a symmetric key instead of a token: it is of the tenant that the request is addressed to, or of the default one.
async fn enroll_by_key(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
    key: &Secret<Vec<u8>>,
    request: Request<'_>,
) -> Result<Enrolled> {
    let tenant = label.cloned().or_else(|| app.settings().ok()?.default_tenant.clone());
    let device = credentials.device.parse::<DeviceId>().ok();
    let whose = Whose { tenant: tenant.clone(), device: device.clone(), ..Whose::default() };
    let outcome = match tenant.zip(device) {
        Some((tenant, device)) => symmetric::enroll(app, attempt, &tenant, device, key, request).await,
        None => {
            Err(Refusal::credential("no-tenant", "say which tenant by the EST label, and which device by the user"))
        }
    };
    settled(app, attempt, Action::EnrollmentRefused, whose, outcome).await
}

/// Whose token it is. A token of one kind is none of another, also by its hash.
pub(super) async fn find(
    app: &App,
    label: Option<&TenantId>,
    kind: TokenKind,
    text: &str,
) -> Result<(TenantId, EnrollTokenRow), Fault> {
    let Some(hash) = hash(kind, text) else {
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
    request: Request<'_>,
    policy: &IdentityPolicy,
) -> Result<Enrolled, Fault> {
    // A bearer of the token alone has not said which device it is: the token does.
    if !credentials.device.is_empty() && credentials.device != token.device.as_str() {
        return Err(Refusal::credential("foreign-device", "the enrolment token is of another device"));
    }
    check_standing(&token)?;
    let csr = request.read(&policy.est)?;
    csr.check_identity(&tenant, &token.device)?;
    check_use(&token, &csr.request_hash(&tenant), app.now())?;
    let newcomer = Newcomer {
        tenant: tenant.clone(),
        device: token.device,
        way: Way::Token,
        source: Some(token.id.to_string()),
        facts: DeviceFields::default(),
        csr,
    };
    let row = newcomer::enter(app, attempt, newcomer, OneTimeToken(token.id)).await?;
    Ok(Enrolled::of(&tenant, row))
}

/// A token that was found to count, to be used up.
pub(super) struct OneTimeToken(pub(super) TokenId);

#[async_trait]
impl Consume for OneTimeToken {
    async fn consume(&self, tx: &mut TenantTx, request: &[u8], now: Timestamp) -> Result<Use, Fault> {
        let token = tx.enroll_token_for_update(self.0).await?;
        let token = token.ok_or_else(|| Refusal::credential("unknown-token", "there is no such token"))?;
        check_standing(&token)?;
        check_use(&token, request, now)?;
        if token.used_at.is_some() {
            return Ok(Use::Again);
        }
        tx.use_enroll_token(self.0, request, now).await?;
        Ok(Use::First)
    }
}

pub(super) fn check_standing(token: &EnrollTokenRow) -> Result<(), Fault> {
    if token.revoked_at.is_some() {
        return Err(Refusal::credential("revoked-token", "the enrolment token was revoked"));
    }
    if token.attempts >= u64::from(limits::ENROLL_PER_TOKEN_ATTEMPTS) {
        return Err(Refusal::credential("blocked-token", "the enrolment token was tried too often; make another"));
    }
    Ok(())
}

/// A token that was used counts for the request that it was used for, also after its time. One may be bound to a request
/// before that.
pub(super) fn check_use(token: &EnrollTokenRow, request: &[u8], now: Timestamp) -> Result<(), Fault> {
    let used = token.used_at.is_some();
    match &token.used_csr {
        Some(known) if known != request && used => {
            Err(Refusal::credential("used-token", "the enrolment token was used before"))
        }
        Some(known) if known != request => {
            Err(Refusal::credential("bound-token", "the enrolment token was given for another key"))
        }
        _ if !used && token.expires_at <= now => {
            Err(Refusal::credential("expired-token", "the enrolment token has expired"))
        }
        _ => Ok(()),
    }
}
