//! Devices with a token of a token service that their tenant believes (requirement I13): exchanged for a certificate, or for
//! a session over MQTT that ends with the token.
//!
//! The tenant is named by the EST label or the user name, never by the token; the token only has to be one of a service of
//! that tenant. A token is exchanged for one request and no other. What it is worth is decided by
//! [`fleetward_core::token_issuer::judge`]; whether the device may come in, by its record, as for certificates. Every
//! refusal is a security event under its cause.

use async_trait::async_trait;
use fleetward_base::{DeviceId, RequestId, Secret, TenantId, Timestamp};
use fleetward_core::access::DeviceRights;
use fleetward_core::enrolment::{Way, permits};
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::lifecycle::{self, Transition};
use fleetward_core::registry::DeviceFields;
use fleetward_core::token_issuer::{Bearer, Claims, Login, Rules, judge};
use fleetward_pki::jwt::{Algorithm, BadJwt, KeySet, Token};
use fleetward_store::{TenantTx, TokenIssuerRow};
use serde_json::json;

use super::admission::{Admitted, rights_now};
use super::channel::Request;
use super::newcomer::{self, Consume, Newcomer, Use};
use super::refusal::{Fault, Refusal, Whose, settle};
use super::{Attempt, Credentials, Enrolled, approval, issue, provenance, renewal};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::registry::row_of;
use crate::token_issuers::{keys::keys_of, rules_of};
use crate::{App, deny_list};

/// Sessions on the word of a token service have a serial number of this form: `jwt:SERVICE:KEY`.
const SESSION: &str = "jwt:";

/// A token that counts, and whose.
struct Shown {
    bearer: Bearer,
    issuer: TokenIssuerRow,
    rules: Rules,
    /// SHA-256 of the key that signed it.
    key: String,
}

/// Issues a certificate to the device that a token names.
pub(super) async fn enroll(
    app: &App,
    attempt: &Attempt,
    label: Option<&TenantId>,
    credentials: &Credentials,
    request: Request<'_>,
) -> Result<Enrolled> {
    let tenant = label.cloned().or_else(|| app.settings().ok()?.default_tenant.clone());
    let mut whose = Whose { tenant: tenant.clone(), ..Whose::default() };
    let outcome = match &tenant {
        Some(tenant) => exchange(app, attempt, tenant, credentials, request, &mut whose).await,
        None => Err(Refusal::credential("no-tenant", "say which tenant by the EST label")),
    };
    match outcome {
        Ok(enrolled) => Ok(enrolled),
        Err(fault) => Err(settle(app, attempt, Action::EnrollmentRefused, whose, fault).await),
    }
}

async fn exchange(
    app: &App,
    attempt: &Attempt,
    tenant: &TenantId,
    credentials: &Credentials,
    request: Request<'_>,
    whose: &mut Whose,
) -> Result<Enrolled, Fault> {
    let policy = policy_of(app, tenant).await?;
    let shown = exchangeable(app, tenant, &policy, credentials, whose).await?;
    // Without an id nobody could tell it from the same token once more.
    let Some(id) = shown.bearer.id.clone() else {
        return Err(Refusal::credential("jwt-bad-id", "the token has no id (jti)"));
    };
    let newcomer = Newcomer {
        tenant: tenant.clone(),
        device: shown.bearer.device.clone(),
        way: Way::Jwt,
        source: Some(shown.issuer.name.clone()),
        facts: DeviceFields::default(),
        csr: request.read(&policy.est)?,
    };
    let kept_until = shown.bearer.expires_at.plus(std::time::Duration::from_secs(shown.rules.leeway_s));
    let once = Once {
        device: shown.bearer.device,
        issuer: shown.issuer.name,
        id: approval::hex(&approval::sha256(id.as_bytes())),
        registers: shown.rules.registers,
        kept_until,
    };
    let row = newcomer::enter(app, attempt, newcomer, once).await?;
    Ok(Enrolled::of(tenant, row))
}

/// Whose a token is that would be exchanged now; it is not used up.
pub(super) async fn holder(
    app: &App,
    label: Option<&TenantId>,
    credentials: &Credentials,
) -> Result<(TenantId, DeviceId), (Whose, Fault)> {
    let tenant = label.cloned().or_else(|| app.settings().ok()?.default_tenant.clone());
    let mut whose = Whose { tenant: tenant.clone(), ..Whose::default() };
    let found = async {
        let tenant = tenant.ok_or_else(|| Refusal::credential("no-tenant", "say which tenant"))?;
        let policy = policy_of(app, &tenant).await?;
        let shown = exchangeable(app, &tenant, &policy, credentials, &mut whose).await?;
        Ok::<_, Fault>((tenant, shown.bearer.device))
    };
    found.await.map_err(|fault| (whose, fault))
}

/// A token that its tenant exchanges for a certificate.
async fn exchangeable(
    app: &App,
    tenant: &TenantId,
    policy: &IdentityPolicy,
    credentials: &Credentials,
    whose: &mut Whose,
) -> Result<Shown, Fault> {
    if !policy.tokens.exchange {
        return Err(off());
    }
    let shown = recognise(app, tenant, credentials.token.expose()).await?;
    whose.device = Some(shown.bearer.device.clone());
    if !credentials.device.is_empty() && credentials.device != shown.bearer.device.as_str() {
        return Err(foreign());
    }
    Ok(shown)
}

/// A token, to be used up for one request.
struct Once {
    device: DeviceId,
    issuer: String,
    /// SHA-256 of its id.
    id: String,
    registers: bool,
    kept_until: Timestamp,
}

#[async_trait]
impl Consume for Once {
    async fn consume(&self, tx: &mut TenantTx, request: &[u8], now: Timestamp) -> Result<Use, Fault> {
        if tx.token_issuer(&self.issuer).await?.is_none_or(|row| row.disabled_at.is_some()) {
            return Err(disabled());
        }
        if !self.registers && tx.device(&self.device).await?.is_none() {
            return Err(unknown_device());
        }
        if tx.use_token(&self.issuer, &self.id, request, self.kept_until).await? {
            renewal::check_pace(tx, &self.device, now).await?;
            return Ok(Use::First);
        }
        match tx.token_use(&self.issuer, &self.id).await? {
            Some(used) if used == request => Ok(Use::Again),
            _ => Err(Refusal::credential("jwt-used", "the token was exchanged before")),
        }
    }
}

/// Lets a device in for as long as its token counts, where its tenant wants that. `client` is the name that it gives
/// itself, which may be empty.
///
/// # Errors
/// `Unauthenticated` where it may not come in, and `Conflict` where its record or a rule of its tenant stands against it;
/// the cause is journaled.
pub async fn admit_bearer(
    app: &App,
    attempt: &Attempt,
    login: &Login,
    client: &str,
    token: &Secret<String>,
) -> Result<Admitted> {
    let mut whose = Whose { tenant: Some(login.tenant.clone()), ..Whose::default() };
    match admit(app, attempt, login, client, token.expose(), &mut whose).await {
        Ok(admitted) => Ok(admitted),
        Err(fault) => Err(settle(app, attempt, Action::DeviceConnectionRefused, whose, fault).await),
    }
}

async fn admit(
    app: &App,
    attempt: &Attempt,
    login: &Login,
    client: &str,
    token: &str,
    whose: &mut Whose,
) -> Result<Admitted, Fault> {
    let tenant = login.tenant.clone();
    let policy = match policy_of(app, &tenant).await {
        // It is nobody's: what is written down of it belongs to no tenant.
        Err(fault @ Fault::Refused(_)) => {
            whose.tenant = None;
            return Err(fault);
        }
        other => other?,
    };
    if !policy.tokens.mqtt {
        return Err(off());
    }
    let shown = recognise(app, &tenant, token).await?;
    let device = shown.bearer.device.clone();
    whose.device = Some(device.clone());
    let said = login.device.as_ref();
    if said.is_some_and(|said| *said != device) || (said.is_none() && policy.tokens.device_in_username) {
        return Err(Refusal::credential("foreign-device", "the user name is not that of the token's device"));
    }
    if !client.is_empty() && client != device.as_str() {
        return Err(foreign());
    }
    let now = app.now();
    // The leeway is for clocks that differ, not for a session.
    if shown.bearer.expires_at <= now {
        return Err(Refusal::credential("jwt-expired", "the token has expired"));
    }
    let serial = format!("{SESSION}{}:{}", shown.issuer.name, shown.key);
    let (request_id, not_after) = (attempt.request_id, shown.bearer.expires_at);
    let (asked, issuer, registers) = (device.clone(), shown.issuer.name, shown.rules.registers);
    let in_now = app
        .store()
        .read(&tenant, "admit bearer", {
            let (policy, device) = (std::sync::Arc::clone(&policy), device.clone());
            let (app, tenant) = (app.clone(), tenant.clone());
            move |tx: &mut TenantTx| {
                Box::pin(async move { Ok::<_, Fault>(rights_now(&app, &tenant, tx, &policy, &device, now).await?) })
            }
        })
        .await?;
    let rights = match in_now {
        Some(rights) => rights,
        None => {
            let (app_in, home) = (app.clone(), tenant.clone());
            app.store()
                .write(&tenant, "bearer comes in", move |tx: &mut TenantTx| {
                    Box::pin(async move {
                        let newcomer = First { device: asked, issuer, registers, request_id };
                        come_in((&app_in, &home), tx, &policy, newcomer, now).await
                    })
                })
                .await?
        }
    };
    Ok(Admitted { tenant, device, serial, not_after, rights })
}

/// A device that comes for the first time, with nothing but a token.
struct First {
    device: DeviceId,
    issuer: String,
    registers: bool,
    request_id: RequestId,
}

async fn come_in(
    (app, tenant): (&App, &TenantId),
    tx: &mut TenantTx,
    policy: &IdentityPolicy,
    first: First,
    now: Timestamp,
) -> Result<DeviceRights, Fault> {
    let First { device, issuer, registers, request_id } = first;
    let known = tx.device(&device).await?.is_some();
    if !registers {
        return Err(if known { not_in() } else { unknown_device() });
    }
    // Who must be looked at by a person asks with a request for a certificate, which can wait.
    if policy.enrolment.approval.contains(&Way::Jwt) {
        let reason = "a person has to let it in: exchange the token for a certificate";
        let error = Error::conflict("approval-required", reason);
        return Err(Fault::Refused(Refusal { cause: "jwt-approval", error }));
    }
    let facts = DeviceFields::default();
    let made = provenance::admit(tx, &policy.enrolment, &device, &facts).await?;
    provenance::check_hardware(app, tenant, tx, &device, &facts, &[]).await?;
    let before = issue::device_for_enrolment(tx, &device, request_id, now).await?;
    let next = lifecycle::decide(before.status, Transition::Enroll).ok();
    let (true, Some(status)) = (permits(before.status, Way::Jwt), next) else { return Err(not_in()) };
    let facts = provenance::facts(&before, made.as_ref(), facts);
    let known = before.amend(facts, now).map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    let from = known.status;
    let after = fleetward_core::registry::Device {
        status,
        provisioned_at: known.provisioned_at.or(Some(now)),
        revision: before.revision + 1,
        updated_at: now,
        ..known
    };
    if !tx.update_device(&row_of(&after)?, before.revision).await? {
        return Err(Error::conflict("device-changed", "the device's record changed meanwhile").into());
    }
    let detail = json!({ "from": from.as_str(), "to": status.as_str(), "way": Way::Jwt.as_str(), "source": issuer });
    let entry = Entry::done(now, Actor::device(&device), Action::DeviceStatusChanged).device(&device).detail(detail);
    record(tx, &entry.request(Some(request_id))).await?;
    rights_now(app, tenant, tx, policy, &device, now).await?.ok_or_else(not_in)
}

/// Whether a session with this serial number stands on the word of a token service.
pub(super) fn is_session(serial: &str) -> bool {
    serial.starts_with(SESSION)
}

/// Whether such a session still may be: its service is believed, its key is not denied, and the device may be in.
pub(super) async fn still_admitted(
    app: &App,
    tenant: &TenantId,
    device: &DeviceId,
    serial: &str,
    rights: DeviceRights,
) -> Result<bool> {
    let Some((name, key)) = serial.strip_prefix(SESSION).and_then(|rest| rest.split_once(':')) else {
        return Ok(false);
    };
    let policy = identity_policy(app, tenant).await?;
    if !policy.tokens.mqtt || deny_list::is_denied_hash(app, tenant, key) {
        return Ok(false);
    }
    let (now, name, key, device) = (app.now(), name.to_owned(), key.to_owned(), device.clone());
    let (app_in, home) = (app.clone(), tenant.clone());
    app.read(tenant, "bearer still admitted", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let believed = tx.token_issuer(&name).await?.is_some_and(|row| {
                // Of keys that are asked for elsewhere the next connection hears.
                let given = row.jwks.as_ref().map(|jwks| KeySet::parse(jwks.as_bytes()));
                let has = |keys: KeySet| keys.keys().iter().any(|it| it.fingerprint == key);
                row.disabled_at.is_none() && given.is_none_or(|keys| keys.is_ok_and(has))
            });
            Ok(believed && rights_now(&app_in, &home, tx, &policy, &device, now).await? == Some(rights))
        })
    })
    .await
}

/// The device that the token names, if it is one of a service that the tenant believes.
async fn recognise(app: &App, tenant: &TenantId, text: &str) -> Result<Shown, Fault> {
    let unknown = || Refusal::credential("jwt-issuer", "the token is of another issuer");
    let token = Token::parse(text).map_err(bad)?;
    let said = token.unverified_issuer().ok_or_else(unknown)?;
    let issuer = app
        .store()
        .read(tenant, "token issuer", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok::<_, Fault>(tx.token_issuer_of(&said).await?) })
        })
        .await?
        .ok_or_else(unknown)?;
    if issuer.disabled_at.is_some() {
        return Err(disabled());
    }
    let rules = rules_of(&issuer)?;
    let accepted: Vec<Algorithm> = rules.algorithms.iter().map(|it| algorithm(*it)).collect();
    let keys = keys_of(app, tenant, &issuer, token.key_id()).await?;
    let (claims, key) = token.verified(&keys, &accepted).map_err(bad)?;
    if deny_list::is_denied_hash(app, tenant, &key.fingerprint) {
        return Err(Refusal::credential("denied", "the key of the token is on the deny list"));
    }
    let said = Claims {
        device: claims.text(&rules.device_claim).map(str::to_owned),
        issuer: claims.issuer,
        audience: claims.audience,
        expires_at: claims.expires_at,
        not_before: claims.not_before,
        issued_at: claims.issued_at,
        id: claims.id,
    };
    let judged = judge(app.now(), &rules, &said);
    let bearer = judged.map_err(|refused| Refusal::credential(refused.as_str(), refused.reason()))?;
    Ok(Shown { bearer, issuer, rules, key: key.fingerprint.clone() })
}

const fn algorithm(it: fleetward_core::token_issuer::Algorithm) -> Algorithm {
    use fleetward_core::token_issuer::Algorithm as Named;
    match it {
        Named::Es256 => Algorithm::Es256,
        Named::Es384 => Algorithm::Es384,
        Named::EdDsa => Algorithm::EdDsa,
        Named::Rs256 => Algorithm::Rs256,
    }
}

fn bad(error: BadJwt) -> Fault {
    match error {
        BadJwt::Malformed => Refusal::credential("jwt-malformed", "the token is malformed"),
        BadJwt::Algorithm => Refusal::credential("jwt-algorithm", "the token's algorithm is not accepted"),
        BadJwt::UnknownKey => Refusal::credential("jwt-unknown-key", "the token's key is not one of its issuer's"),
        BadJwt::Signature => Refusal::credential("jwt-signature", "the token's signature is wrong"),
    }
}

/// The policy of a tenant that there is; of another nobody learns that there is none.
async fn policy_of(app: &App, tenant: &TenantId) -> Result<std::sync::Arc<IdentityPolicy>, Fault> {
    match identity_policy(app, tenant).await {
        Err(Error::NotFound { .. }) => Err(off()),
        other => Ok(other?),
    }
}

fn off() -> Fault {
    Refusal::credential("jwt-off", "tokens are not taken here")
}

fn disabled() -> Fault {
    Refusal::credential("jwt-disabled", "the token's issuer is not believed any more")
}

fn foreign() -> Fault {
    Refusal::credential("foreign-device", "the token is of another device")
}

fn unknown_device() -> Fault {
    Refusal::credential("jwt-unknown-device", "there is no such device")
}

fn not_in() -> Fault {
    Refusal::credential("device-status", "the device may not connect")
}
