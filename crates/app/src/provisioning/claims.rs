//! Claims: certificates that many devices may share, good for asking for an identity and for nothing else.
//!
//! The key of a claim is made by whoever asks for it, who sends a request; only the claim of a trusted user, which lives for
//! five minutes, comes with a key of the server's making, since AWS's clients expect it so.

use std::time::Duration;

use fleetward_base::{DeviceId, Secret, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Entry, Severity};
use fleetward_pki::foreign::Named;
use fleetward_pki::{Csr, Presented, Signer, SoftKey, TrustError, Validity, VerifiedClaim, csr, name};
use fleetward_store::{ClaimRow, OtherCertificateRow, TenantTx};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Claimant;
use super::pending::{pem, unpem};
use crate::authority::{self, OtherKind, Wish, other_row};
use crate::enroll::{Attempt, Refusal, UNKNOWN_CERTIFICATE, Whose, settle, unlogged};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// A claim lives this long unless asked otherwise, and never longer than the second.
const LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
const LIFE_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// The longest name; connections are called by it with something behind.
const NAME_BYTES: usize = 64;
const CLAIM: &str = "claim";
/// Why its certificate is on the list of revoked ones (RFC 5280 §5.3.1).
const REVOKED_FOR: &str = "privilege_withdrawn";
pub(super) const USER: &str = "user";

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub name: String,
    /// `claim`, or `user` for that of a trusted user.
    pub kind: String,
    pub template: String,
    pub certificate_id: String,
    pub count_cap: Option<u64>,
    pub used: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// A claim that is to be made.
#[derive(Clone, Debug)]
pub struct NewClaim {
    pub name: String,
    pub template: String,
    /// In PEM.
    pub csr: String,
    pub count_cap: Option<u64>,
    pub life: Option<Duration>,
}

/// A claim that was made, with its certificate in PEM.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MadeClaim {
    pub name: String,
    pub certificate_id: String,
    pub certificate_pem: String,
    pub expires_at: Timestamp,
}

/// The claim of a trusted user, with its key: shown this once.
pub struct UserClaim {
    pub claim: MadeClaim,
    pub public_key: String,
    pub private_key: Secret<String>,
}

/// Makes a claim for the key of a request.
///
/// # Errors
/// `Invalid` with the field, `NotFound` for the template, `Conflict` (`claim-exists`).
pub async fn create_claim(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewClaim) -> Result<MadeClaim> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let good = new.name.len() <= NAME_BYTES && !new.name.contains(':') && new.name.parse::<DeviceId>().is_ok();
    if !good {
        return Err(Error::invalid("name", format!("1 to {NAME_BYTES} of a-z, A-Z, 0-9, _ and -")));
    }
    let life = new.life.unwrap_or(LIFE);
    if life.is_zero() || life > LIFE_MAX {
        return Err(Error::invalid("ttl_s", format!("1 to {} seconds", LIFE_MAX.as_secs())));
    }
    if new.count_cap == Some(0) {
        return Err(Error::invalid("count_cap", "at least 1"));
    }
    let der = unpem(&new.csr, "CERTIFICATE REQUEST").ok_or_else(|| Error::invalid("csr", "not a request in PEM"))?;
    let csr = csr::parse(&der).map_err(|error| Error::invalid("csr", error.to_string()))?;
    let row = issue(app, ctx, tenant, &new, &csr, (CLAIM, life)).await?;
    keep(app, ctx, tenant, row).await
}

/// Makes the claim of a trusted user for a template: five minutes, one device, a key of the server's making.
///
/// # Errors
/// `NotFound` for the template.
pub async fn create_user_claim(app: &App, ctx: &Ctx, tenant: &TenantId, template: &str) -> Result<UserClaim> {
    ctx.allow(tenant, Permission::ProvisioningClaim)?;
    let (key, pkcs8) = SoftKey::generate();
    let der = csr::write(&name::write(None, USER), &[], &key).map_err(Error::internal)?;
    let csr = csr::parse(&der).map_err(Error::internal)?;
    let new = NewClaim {
        name: format!("{USER}-{}", app.new_request_id()),
        template: template.to_owned(),
        csr: String::new(),
        count_cap: Some(1),
        life: None,
    };
    let row = issue(app, ctx, tenant, &new, &csr, (USER, limits::USER_CLAIM_TTL)).await?;
    let claim = keep(app, ctx, tenant, row).await?;
    Ok(UserClaim {
        claim,
        public_key: pem("PUBLIC KEY", key.public_spki()),
        private_key: Secret::new(pem("PRIVATE KEY", pkcs8.expose())),
    })
}

async fn issue(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    new: &NewClaim,
    csr: &Csr,
    (kind, life): (&str, Duration),
) -> Result<(ClaimRow, Option<OtherCertificateRow>)> {
    let now = app.now();
    let validity = Validity { not_before: now.minus(Duration::from_secs(300)), not_after: now.plus(life) };
    // How long a claim counts is kept here; an issuer elsewhere may have one life for all.
    let wish = Wish { tenant, named: Named::Claim(&new.name), csr, validity, latest: now.plus(LIFE_MAX) };
    let signed = authority::sign_leaf(app, &wish).await.map_err(|fault| fault.into_error("csr"))?;
    let issued = signed.issued;
    // What somebody else signed stands in their books.
    let other = (!signed.elsewhere).then(|| other_row(OtherKind::Claim, &signed.authority, &issued, now));
    let row = ClaimRow {
        name: new.name.clone(),
        kind: kind.to_owned(),
        template: new.template.clone(),
        serial: issued.serial.to_string(),
        fingerprint: issued.fingerprint,
        der: issued.der,
        count_cap: new.count_cap,
        used: 0,
        created_by: ctx.principal.actor().name,
        created_at: now,
        expires_at: issued.validity.not_after.min(validity.not_after),
        revoked_at: None,
    };
    Ok((row, other))
}

async fn keep(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    (row, other): (ClaimRow, Option<OtherCertificateRow>),
) -> Result<MadeClaim> {
    let made = MadeClaim {
        name: row.name.clone(),
        certificate_id: row.fingerprint.clone(),
        certificate_pem: pem("CERTIFICATE", &row.der),
        expires_at: row.expires_at,
    };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "create claim", move |tx| {
        Box::pin(async move {
            if let Some(made) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(made);
            }
            tx.template(&row.template).await?.ok_or(Error::NotFound { what: "template" })?;
            if !tx.insert_claim(&row).await? {
                return Err(Error::conflict("claim-exists", format!("the claim {} exists", row.name)));
            }
            if let Some(other) = other {
                tx.insert_other_certificate(&other).await?;
            }
            let detail = json!({
                "kind": row.kind, "template": row.template, "serial": row.serial, "count_cap": row.count_cap,
                "expires_at": row.expires_at.to_string(),
            });
            let entry = ctx_in.done(row.created_at, Action::ClaimCreated).subject(&row.name);
            record(tx, &entry.detail(detail).severity(Severity::Notice)).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &made).await?;
            Ok(made)
        })
    })
    .await
}

/// A page of the claims, by name, after `after`.
pub async fn claims(app: &App, ctx: &Ctx, tenant: &TenantId, after: Option<String>, limit: u32) -> Result<Vec<Claim>> {
    ctx.allow(tenant, Permission::ProvisioningRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "claims", move |tx| Box::pin(async move { Ok(tx.claims(after.as_deref(), limit).await?) }))
        .await?;
    Ok(rows.into_iter().map(claim_of).collect())
}

/// Ends a claim: who is connected with it is disconnected. Devices that came with it stay. Asking twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_claim(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<()> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let (now, name, ctx_in) = (app.now(), name.to_owned(), ctx.clone());
    let serial = app
        .write(tenant, "revoke claim", move |tx| {
            Box::pin(async move {
                let row = tx.claim(&name).await?.ok_or(Error::NotFound { what: "claim" })?;
                let entry = ctx_in.done(now, Action::ClaimRevoked);
                end(tx, &row, entry, now).await?;
                Ok(row.serial)
            })
        })
        .await?;
    if let Some(links) = app.links() {
        links.end_claim(tenant, &serial);
    }
    app.forget_answers(tenant);
    Ok(())
}

/// The claim counts no longer, and its certificate is revoked for others too; whether it did until now.
pub(crate) async fn end(tx: &mut TenantTx, row: &ClaimRow, entry: Entry, now: Timestamp) -> Result<bool> {
    if !tx.revoke_claim(&row.name, now).await? {
        return Ok(false);
    }
    tx.revoke_other_certificate(&row.serial, REVOKED_FOR, now).await?;
    let detail = json!({ "serial": row.serial, "used": row.used });
    record(tx, &entry.subject(&row.name).severity(Severity::Notice).detail(detail)).await?;
    Ok(true)
}

/// A connection that a claim may have.
#[derive(Clone, Debug)]
pub struct AdmittedClaim {
    pub claimant: Claimant,
    pub not_after: Timestamp,
}

/// Whether this is a certificate of a claim, by what it says of itself; [`admit_claim`] decides.
pub fn is_claim(presented: &CertificateDer<'_>) -> bool {
    fleetward_pki::Certificate::parse(presented).is_ok_and(|certificate| certificate.claim().is_some())
}

/// Lets a connection in that proved in its TLS hand-shake to hold a claim's certificate, if the claim still counts.
/// `client_id` is what the client calls itself.
///
/// # Errors
/// `Unauthenticated` where it does not count; the cause is journaled.
pub async fn admit_claim(
    app: &App,
    attempt: &Attempt,
    presented: &CertificateDer<'_>,
    client_id: &str,
) -> Result<AdmittedClaim> {
    let refused = |cause: &'static str, whose: Whose| {
        let fault = Refusal::credential(cause, "the claim does not count");
        settle(app, attempt, Action::ProvisioningRefused, whose, fault)
    };
    let now = app.now();
    let known = authority::trust(app).load().identify(presented, &[], now, Duration::ZERO);
    let verified = match known {
        Ok(Presented::Claim(verified)) => verified,
        Ok(Presented::Nameless(shown)) => {
            let (whose, fault) = unlogged::nameless(app, shown).await;
            return Err(settle(app, attempt, Action::ProvisioningRefused, whose, fault).await);
        }
        Ok(_) => return Err(refused(TrustError::Foreign.code(), Whose::default()).await),
        Err(error) => return Err(refused(error.code(), Whose::default()).await),
    };
    let VerifiedClaim { tenant, claim, serial, fingerprint, not_after } = verified;
    let whose = Whose { tenant: Some(tenant.clone()), serial: Some(serial.clone()), ..Whose::default() };
    let name = claim.clone();
    let row = app.read(&tenant, "claim", move |tx| Box::pin(async move { Ok(tx.claim(&name).await?) })).await?;
    let row = row.filter(|row| row.fingerprint == fingerprint);
    let not_after = row.as_ref().map_or(not_after, |row| not_after.min(row.expires_at));
    let cause = match row {
        // A claim is kept before its certificate is given away, and until that has ended.
        None => Some(UNKNOWN_CERTIFICATE),
        Some(row) if row.revoked_at.is_some() => Some("revoked-claim"),
        Some(row) if row.expires_at <= now => Some("expired-claim"),
        Some(_) => None,
    };
    if let Some(cause) = cause {
        return Err(refused(cause, whose).await);
    }
    let connection = format!("{claim}:{}", app.new_request_id());
    let client_id = client_id.to_owned();
    let claimant = Claimant { tenant, claim, serial, fingerprint, connection, client_id, address: attempt.address };
    Ok(AdmittedClaim { claimant, not_after })
}

/// Whether a claim that was admitted still counts.
///
/// # Errors
/// Where the store does not answer.
pub async fn still_admitted(app: &App, tenant: &TenantId, claim: &str, serial: &str) -> Result<bool> {
    let (now, name, serial) = (app.now(), claim.to_owned(), serial.to_owned());
    app.read(tenant, "claim", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let row = tx.claim(&name).await?.filter(|row| row.serial == serial);
            Ok(row.is_some_and(|row| row.revoked_at.is_none() && row.expires_at > now))
        })
    })
    .await
}

fn claim_of(row: ClaimRow) -> Claim {
    Claim {
        name: row.name,
        kind: row.kind,
        template: row.template,
        certificate_id: row.fingerprint,
        count_cap: row.count_cap,
        used: row.used,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    }
}
