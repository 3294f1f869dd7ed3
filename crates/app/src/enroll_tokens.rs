//! One-time enrolment tokens: the right of one named device to get its first certificate. Using one is
//! [`crate::enroll`]'s business.
//!
//! There are two kinds, which differ in where they are presented and in nothing else: a token in HTTP Basic at EST, a
//! challenge in the request itself at SCEP. One is not the other, also not by its hash.

use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, TokenId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_core::lifecycle;
use fleetward_core::registry::{Device, DeviceFields};
use fleetward_store::{EnrollTokenRow, TenantTx};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::{device_of, row_of};
use crate::token::{TokenKind, generate, hash};
use crate::{App, Ctx, idempotency};

/// A token lives this long unless asked otherwise, and never longer than the second: a factory line may be slow.
const LIFE: Duration = Duration::from_secs(24 * 3600);
const LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Where a token is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// As the password of HTTP Basic.
    Basic,
    /// As the challenge password of a SCEP request.
    Scep,
}

impl Presented {
    /// As the store has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Basic => "enroll",
            Self::Scep => "scep",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Basic => "enrolment token",
            Self::Scep => "challenge",
        }
    }

    const fn kind(self) -> TokenKind {
        match self {
            Self::Basic => TokenKind::Enroll,
            Self::Scep => TokenKind::Challenge,
        }
    }
}

/// A token without its secret.
#[derive(Clone, Debug)]
pub struct EnrollToken {
    pub id: TokenId,
    pub device: DeviceId,
    pub attempts: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A token that was just made. `token` is not shown again.
#[derive(Serialize, Deserialize)]
pub struct NewEnrollToken {
    pub id: TokenId,
    pub device: DeviceId,
    pub token: String,
    pub expires_at: Timestamp,
}

/// Makes a token for `id`, and the device's record where there is none yet. `fields` says what the device is; for one
/// that is known already they must be empty, since a token is no way around the record's revision.
///
/// # Errors
/// `Conflict` (`life-cycle`) for a device that may not enrol; `Invalid` with the field.
pub async fn create_enroll_token(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: DeviceId,
    fields: DeviceFields,
    life: Option<Duration>,
) -> Result<NewEnrollToken> {
    create(app, ctx, tenant, Presented::Basic, id, fields, life).await
}

/// As [`create_enroll_token`], with a challenge for SCEP.
///
/// # Errors
/// As there.
pub async fn create_scep_challenge(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: DeviceId,
    fields: DeviceFields,
    life: Option<Duration>,
) -> Result<NewEnrollToken> {
    create(app, ctx, tenant, Presented::Scep, id, fields, life).await
}

async fn create(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    presented: Presented,
    id: DeviceId,
    fields: DeviceFields,
    life: Option<Duration>,
) -> Result<NewEnrollToken> {
    ctx.allow(tenant, Permission::EnrollTokenCreate)?;
    let life = life.unwrap_or(LIFE);
    if life.is_zero() || life > LIFE_MAX {
        return Err(Error::invalid("ttl_s", format!("1 to {} seconds", LIFE_MAX.as_secs())));
    }
    let now = app.now();
    let (row, made) = fresh(app, ctx, presented, id, life, now)?;
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "create enroll token", move |tx| {
        Box::pin(async move {
            if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(kept);
            }
            ensure_device(tx, &ctx_in, &row.device, fields, now).await?;
            keep_token(tx, &ctx_in, &row, now).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &made).await?;
            Ok(made)
        })
    })
    .await
}

/// A token that nobody has yet, and its row.
fn fresh(
    app: &App,
    ctx: &Ctx,
    presented: Presented,
    device: DeviceId,
    life: Duration,
    now: Timestamp,
) -> Result<(EnrollTokenRow, NewEnrollToken)> {
    let token = generate(presented.kind(), app.rng().as_ref());
    let row = EnrollTokenRow {
        id: TokenId::generate(app.clock().as_ref(), app.rng().as_ref()),
        kind: presented.as_str().to_owned(),
        device: device.clone(),
        hash: hash(presented.kind(), token.expose()).ok_or_else(|| Error::internal("a token that is none"))?.to_vec(),
        attempts: 0,
        created_by: ctx.principal.actor().name,
        created_at: now,
        expires_at: now.plus(life),
        used_at: None,
        used_csr: None,
        revoked_at: None,
    };
    let made = NewEnrollToken { id: row.id, device, token: token.expose().clone(), expires_at: row.expires_at };
    Ok((row, made))
}

async fn keep_token(tx: &mut TenantTx, ctx: &Ctx, row: &EnrollTokenRow, now: Timestamp) -> Result<()> {
    tx.insert_enroll_token(row).await?;
    let detail = json!({ "kind": row.kind, "expires_at": row.expires_at.to_string() });
    let entry = ctx.done(now, Action::EnrollTokenCreated).device(&row.device).subject(row.id);
    record(tx, &entry.detail(detail)).await?;
    Ok(())
}

/// A token for a device that is known to be registered, in the same transaction; of the usual life unless asked otherwise.
pub(crate) async fn give_token(
    app: &App,
    tx: &mut TenantTx,
    ctx: &Ctx,
    device: DeviceId,
    life: Option<Duration>,
    now: Timestamp,
) -> Result<NewEnrollToken> {
    let (row, made) = fresh(app, ctx, Presented::Basic, device, life.unwrap_or(LIFE), now)?;
    keep_token(tx, ctx, &row, now).await?;
    Ok(made)
}

async fn ensure_device(
    tx: &mut TenantTx,
    ctx: &Ctx,
    id: &DeviceId,
    fields: DeviceFields,
    now: Timestamp,
) -> Result<()> {
    let Some(row) = tx.device_for_update(id).await? else {
        let device = Device::new(id.clone(), now)
            .amend(fields, now)
            .map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
        let device = Device { revision: 1, ..device };
        tx.insert_device(&row_of(&device)?).await?;
        let detail = json!({ "hardware": device.hardware, "class": device.class.as_str() });
        record(tx, &ctx.done(now, Action::DeviceCreated).device(id).detail(detail)).await?;
        return Ok(());
    };
    let device = device_of(row)?;
    if !lifecycle::may_enroll(device.status) {
        let reason = format!("a device that is {} cannot enrol", device.status);
        return Err(Error::conflict("life-cycle", reason));
    }
    let same = device.amend(fields, now).map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    if same.revision != device.revision {
        let reason = format!("the device {id} exists with other values; change it with `wardctl device set`");
        return Err(Error::conflict("device-exists", reason));
    }
    Ok(())
}

/// A page of the tokens, of one device or of all, oldest first, after `after`.
pub async fn enroll_tokens(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: Option<DeviceId>,
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<EnrollToken>> {
    list(app, ctx, tenant, (Presented::Basic, device), after, limit).await
}

/// As [`enroll_tokens`], of the challenges for SCEP.
pub async fn scep_challenges(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<EnrollToken>> {
    list(app, ctx, tenant, (Presented::Scep, None), after, limit).await
}

async fn list(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    (presented, device): (Presented, Option<DeviceId>),
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<EnrollToken>> {
    ctx.allow(tenant, Permission::EnrollTokenRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "enroll tokens", move |tx| {
            Box::pin(async move { Ok(tx.enroll_tokens(presented.as_str(), device.as_ref(), after, limit).await?) })
        })
        .await?;
    Ok(rows.into_iter().map(token_of).collect())
}

/// Takes a token back. One that was used stays used. Asking twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_enroll_token(app: &App, ctx: &Ctx, tenant: &TenantId, id: TokenId) -> Result<()> {
    revoke(app, ctx, tenant, Presented::Basic, id).await
}

/// As [`revoke_enroll_token`], of a challenge for SCEP.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_scep_challenge(app: &App, ctx: &Ctx, tenant: &TenantId, id: TokenId) -> Result<()> {
    revoke(app, ctx, tenant, Presented::Scep, id).await
}

async fn revoke(app: &App, ctx: &Ctx, tenant: &TenantId, presented: Presented, id: TokenId) -> Result<()> {
    ctx.allow(tenant, Permission::EnrollTokenRevoke)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "revoke enroll token", move |tx| {
        Box::pin(async move {
            let row = tx.enroll_token(id).await?.filter(|row| row.kind == presented.as_str());
            let row = row.ok_or(Error::NotFound { what: presented.what() })?;
            if row.revoked_at.is_none() {
                tx.revoke_enroll_token(id, now).await?;
                let entry = ctx_in.done(now, Action::EnrollTokenRevoked).device(&row.device).subject(id);
                record(tx, &entry).await?;
            }
            Ok(())
        })
    })
    .await
}

fn token_of(row: EnrollTokenRow) -> EnrollToken {
    EnrollToken {
        id: row.id,
        device: row.device,
        attempts: row.attempts,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used_at: row.used_at,
        revoked_at: row.revoked_at,
    }
}
