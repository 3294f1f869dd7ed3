//! Claim codes: what lies in the box with a device, and brings it to whoever unpacked it.
//!
//! A code is 100 random bits in Crockford's base 32, which people can read to each other: `7KQ3-0M9T-…`. It is bound to the
//! name or the serial number of one device. Only its hash is kept.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use fleetward_base::{DeviceId, Rng, Secret, TenantId, Timestamp, TokenId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_store::{ClaimCodeRow, TenantTx};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::jit;
use crate::error::{Error, Result, check_line};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::{App, Ctx, idempotency};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DIGITS: usize = 20;
const SUBJECT_BYTES: usize = 128;
/// A code lives this long unless asked otherwise, and never longer than the second: a box may lie in a warehouse.
const LIFE: Duration = Duration::from_secs(2 * 366 * 24 * 3600);
const LIFE_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// What a code is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Device(DeviceId),
    /// The serial number in the subject of the device's certificate.
    Serial(String),
}

impl Subject {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Device(device) => ("device", device.as_str()),
            Self::Serial(serial) => ("serial", serial),
        }
    }
}

/// A code without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimCode {
    pub id: TokenId,
    /// `device` or `serial`.
    pub kind: String,
    pub subject: String,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    pub used_by: Option<String>,
    pub revoked_at: Option<Timestamp>,
}

/// A code that was just made: shown this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewClaimCode {
    pub id: TokenId,
    pub code: String,
    /// What a QR code says.
    pub uri: String,
    pub expires_at: Timestamp,
}

/// What a code brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub kind: String,
    pub subject: String,
    /// The device, where it has been here already; it is let in from now on. Else it is let in when it comes.
    pub device: Option<DeviceId>,
}

/// Makes a code for one device.
///
/// # Errors
/// `Invalid` with the field.
pub async fn create_claim_code(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    subject: Subject,
    life: Option<Duration>,
) -> Result<NewClaimCode> {
    ctx.allow(tenant, Permission::ClaimCodeCreate)?;
    let life = life.unwrap_or(LIFE);
    if life.is_zero() || life > LIFE_MAX {
        return Err(Error::invalid("ttl_s", format!("1 to {} seconds", LIFE_MAX.as_secs())));
    }
    let (kind, text) = subject.parts();
    check_line(kind, text, SUBJECT_BYTES)?;
    let now = app.now();
    let code = new_code(app.rng().as_ref());
    let row = ClaimCodeRow {
        id: TokenId::generate(app.clock().as_ref(), app.rng().as_ref()),
        hash: hash(code.expose()).ok_or_else(|| Error::internal("a code that is none"))?,
        subject_kind: kind.to_owned(),
        subject: text.to_owned(),
        created_by: ctx.principal.actor().name,
        created_at: now,
        expires_at: now.plus(life),
        used_at: None,
        used_by: None,
        revoked_at: None,
        certificate: None,
    };
    let uri = format!("fleetward:claim?tenant={tenant}&code={}", code.expose());
    let made = NewClaimCode { id: row.id, code: code.expose().clone(), uri, expires_at: row.expires_at };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "create claim code", move |tx| {
        Box::pin(async move {
            if let Some(made) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(made);
            }
            tx.insert_claim_code(&row).await?;
            let detail =
                json!({ "kind": row.subject_kind, "for": row.subject, "expires_at": row.expires_at.to_string() });
            record(tx, &ctx_in.done(now, Action::ClaimCodeCreated).subject(row.id).detail(detail)).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &made).await?;
            Ok(made)
        })
    })
    .await
}

/// A page of the codes, oldest first, after `after`.
pub async fn claim_codes(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<ClaimCode>> {
    ctx.allow(tenant, Permission::ProvisioningRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "claim codes", move |tx| Box::pin(async move { Ok(tx.claim_codes(after, limit).await?) }))
        .await?;
    Ok(rows.into_iter().map(code_of).collect())
}

/// Takes a code back. One that was used stays used. Asking twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_claim_code(app: &App, ctx: &Ctx, tenant: &TenantId, id: TokenId) -> Result<()> {
    ctx.allow(tenant, Permission::ClaimCodeCreate)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "revoke claim code", move |tx| {
        Box::pin(async move {
            tx.claim_code(id).await?.ok_or(Error::NotFound { what: "claim code" })?;
            if tx.revoke_claim_code(id, now).await? {
                record(tx, &ctx_in.done(now, Action::ClaimCodeRevoked).subject(id)).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Claims the device that a code lies with. The same caller may ask again.
///
/// # Errors
/// `NotFound` for a code that is none, over or revoked; `Conflict` (`code-used`, `claim-ambiguous`, `device-in-use`);
/// `TooMany` where too many codes were no good.
pub async fn claim_device(app: &App, ctx: &Ctx, tenant: &TenantId, code: &str) -> Result<Claimed> {
    ctx.allow(tenant, Permission::DeviceActivate)?;
    let now = app.now();
    let found = match hash(code) {
        None => None,
        Some(hash) => {
            app.read(tenant, "claim code", move |tx| Box::pin(async move { Ok(tx.claim_code_by_hash(&hash).await?) }))
                .await?
        }
    };
    let by = ctx.principal.actor().name;
    let counts = |row: &ClaimCodeRow| row.revoked_at.is_none() && (row.used_at.is_some() || row.expires_at > now);
    let Some(row) = found.filter(counts) else {
        return Err(if app.provisioning().guess(app, tenant) {
            Error::NotFound { what: "claim code" }
        } else {
            Error::TooMany { what: "claim codes that were no good", retry_after: Duration::from_secs(60) }
        });
    };
    if row.used_by.as_ref().is_some_and(|used_by| *used_by != by) {
        return Err(Error::conflict("code-used", "the code was used before by somebody else"));
    }
    let policy = identity_policy(app, tenant).await?;
    let (ctx_in, app_in) = (ctx.clone(), app.clone());
    app.write(tenant, "claim device", move |tx| {
        Box::pin(async move {
            let home = jit::Home { app: &app_in, policy: &policy };
            claim_in(tx, &ctx_in, row, &by, &home, now).await
        })
    })
    .await
}

async fn claim_in(
    tx: &mut TenantTx,
    ctx: &Ctx,
    row: ClaimCodeRow,
    by: &str,
    home: &jit::Home<'_>,
    now: Timestamp,
) -> Result<Claimed> {
    if row.used_at.is_none() {
        if !tx.use_claim_code(row.id, by, now).await? {
            return Err(Error::conflict("code-used", "the code was used a moment ago"));
        }
        let detail = json!({ "kind": row.subject_kind, "for": row.subject });
        record(tx, &ctx.done(now, Action::ClaimCodeUsed).subject(row.id).detail(detail)).await?;
    }
    // What it let in already is all that it ever lets in.
    if let Some(certificate) = &row.certificate {
        let device = tx.factory_certificate(certificate).await?.and_then(|row| row.device);
        return Ok(Claimed { kind: row.subject_kind, subject: row.subject, device });
    }
    let waiting = tx.factory_certificates_of(&row.subject_kind, &row.subject, 2).await?;
    let device = match waiting.as_slice() {
        [] => None,
        [one] => {
            if !tx.bind_claim_code(row.id, &one.id).await? {
                return Err(Error::conflict("code-used", "the code was used a moment ago"));
            }
            jit::activate_row(tx, home, one, by, ctx.request_id, now).await?;
            tx.factory_certificate(&one.id).await?.and_then(|row| row.device)
        }
        _ => {
            let reason = "several devices with this name wait; look at them and activate the right one";
            return Err(Error::conflict("claim-ambiguous", reason));
        }
    };
    Ok(Claimed { kind: row.subject_kind, subject: row.subject, device })
}

fn new_code(rng: &dyn Rng) -> Secret<String> {
    let mut bytes = [0; DIGITS];
    rng.fill(&mut bytes);
    let mut code = String::with_capacity(DIGITS + DIGITS / 4);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or(b'0')));
    }
    Secret::new(code)
}

/// The stored form of a code; `None` for a text that cannot be one. Blanks and dashes are passed over, and letters that
/// look like digits are digits.
fn hash(code: &str) -> Option<Vec<u8>> {
    let mut plain = String::with_capacity(DIGITS);
    for c in code.chars().take(4 * DIGITS) {
        let c = match c.to_ascii_uppercase() {
            '-' | ' ' => continue,
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        if !c.is_ascii() || !ALPHABET.contains(&u8::try_from(c).ok()?) {
            return None;
        }
        plain.push(c);
    }
    (plain.len() == DIGITS).then(|| digest(&SHA256, plain.as_bytes()).as_ref().to_vec())
}

fn code_of(row: ClaimCodeRow) -> ClaimCode {
    ClaimCode {
        id: row.id,
        kind: row.subject_kind,
        subject: row.subject,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used_at: row.used_at,
        used_by: row.used_by,
        revoked_at: row.revoked_at,
    }
}

#[cfg(test)]
mod tests {
    use fleetward_base::SeededRng;

    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = new_code(&SeededRng::new(1));
        let code = code.expose();
        assert_eq!(code.len(), 24);
        let kept = hash(code);
        assert!(kept.is_some());
        assert_eq!(hash(&code.replace('-', "").to_lowercase()), kept);
        assert_eq!(hash(&format!(" {code} ").replace('-', " ")), kept);
        assert_eq!(hash("OIL0-0000-0000-0000-0000"), hash("0110-0000-0000-0000-0000"));
        for bad in ["", "0110", "U000-0000-0000-0000-0000", "ä110-0000-0000-0000-0000", &"0".repeat(1000)] {
            assert_eq!(hash(bad), None, "{bad}");
        }
    }
}
