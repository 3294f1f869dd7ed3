//! Tokens of the operators' API: who may ask, made and taken back.

use std::time::Duration;

use fleetward_base::{TenantId, Timestamp, TokenId, limits};
use fleetward_core::access::{Permission, Role};
use fleetward_core::journal::{Action, Severity};
use fleetward_store::{ApiTokenRow, Of, TenantTx};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::token::{TokenKind, generate, hash};
use crate::{App, Ctx, Principal, idempotency};

/// A token lives this long unless asked otherwise, and never longer than the second.
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
const LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// The last use is written down at most this often: reading must not become writing.
const TOUCH_EVERY: Duration = Duration::from_secs(3600);
const NAME_BYTES: usize = 100;

/// Whose tokens: of one tenant, or of the installation.
pub type Home = Option<TenantId>;

/// A token without its secret.
#[derive(Clone, Debug)]
pub struct ApiToken {
    pub id: TokenId,
    pub name: String,
    pub role: Role,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// A token that was just made. `token` is not shown again.
#[derive(Serialize, Deserialize)]
pub struct NewApiToken {
    pub id: TokenId,
    pub token: String,
    pub expires_at: Timestamp,
}

/// Who bears this token.
///
/// # Errors
/// `Unauthenticated`: malformed, unknown, expired or revoked, without saying which to the caller.
pub async fn authenticate(app: &App, bearer: &str) -> Result<Principal> {
    let key = hash(TokenKind::Api, bearer).ok_or(Error::Unauthenticated { reason: "malformed token" })?;
    let found = app
        .store()
        .system_read("api token", move |tx| Box::pin(async move { Ok::<_, Error>(tx.api_token_by_hash(&key).await?) }))
        .await?;
    let Of { tenant, row } = found.ok_or(Error::Unauthenticated { reason: "unknown token" })?;
    let now = app.now();
    if row.revoked_at.is_some() {
        return Err(Error::Unauthenticated { reason: "revoked token" });
    }
    if row.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::Unauthenticated { reason: "expired token" });
    }
    let role: Role = row.role.parse().map_err(Error::internal)?;
    if row.last_used_at.is_none_or(|last| now.since(last) >= TOUCH_EVERY) {
        touch(app, tenant.clone(), row.id, now).await;
    }
    Ok(Principal::Operator { token: row.id, name: row.name, role, tenant })
}

/// Whether the token behind an open stream still counts. Where that cannot be found out it does.
pub async fn still_good(app: &App, ctx: &Ctx) -> bool {
    let Principal::Operator { token, tenant, .. } = &ctx.principal else { return false };
    let (id, now) = (*token, app.now());
    let found =
        within(app, tenant.clone(), "api token", move |tx| Box::pin(async move { Ok(tx.api_token(id).await?) }));
    match found.await {
        Ok(row) => row.is_some_and(|row| row.revoked_at.is_none() && row.expires_at.is_none_or(|end| end > now)),
        Err(error) => {
            tracing::debug!(%error, "a stream's token could not be looked at");
            true
        }
    }
}

/// That a token was used is worth knowing and not worth failing for.
async fn touch(app: &App, home: Home, id: TokenId, now: Timestamp) {
    let touched =
        within(app, home, "touch api token", move |tx| Box::pin(async move { Ok(tx.touch_api_token(id, now).await?) }))
            .await;
    if let Err(error) = touched {
        tracing::debug!(%error, "the last use of a token was not written");
    }
}

/// Makes a token of `role`. Nobody gives a role that reaches further than their own.
///
/// # Errors
/// `Denied`, `Invalid` with the field.
pub async fn create_api_token(
    app: &App,
    ctx: &Ctx,
    home: Home,
    name: String,
    role: Role,
    life: Option<Duration>,
) -> Result<NewApiToken> {
    allow(ctx, &home, Permission::ApiTokenCreate)?;
    if home.is_some() == (role == Role::Admin) {
        return Err(Error::invalid(
            "role",
            "admin is a role of the installation; owner, operator, viewer and broker of a tenant",
        ));
    }
    check_line("name", &name, NAME_BYTES)?;
    let life = life.unwrap_or(LIFE);
    if life.is_zero() || life > LIFE_MAX {
        return Err(Error::invalid("ttl_s", format!("1 to {} seconds", LIFE_MAX.as_secs())));
    }
    let now = app.now();
    let token = generate(TokenKind::Api, app.rng().as_ref());
    let row = ApiTokenRow {
        id: TokenId::generate(app.clock().as_ref(), app.rng().as_ref()),
        name,
        role: role.to_string(),
        hash: hash(TokenKind::Api, token.expose()).ok_or_else(|| Error::internal("a token that is none"))?.to_vec(),
        created_by: ctx.principal.actor().name,
        created_at: now,
        expires_at: Some(now.plus(life)),
        last_used_at: None,
        revoked_at: None,
    };
    let made = NewApiToken { id: row.id, token: token.expose().clone(), expires_at: now.plus(life) };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    within(app, home, "create api token", move |tx| {
        Box::pin(async move {
            if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(kept);
            }
            tx.insert_api_token(&row).await?;
            let detail =
                json!({ "name": row.name, "role": row.role, "expires_at": row.expires_at.map(|end| end.to_string()) });
            let entry = ctx_in.done(now, Action::ApiTokenCreated).subject(row.id).severity(Severity::Notice);
            record(tx, &entry.detail(detail)).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &made).await?;
            Ok(made)
        })
    })
    .await
}

/// A page of the tokens, oldest first, after `after`.
pub async fn api_tokens(app: &App, ctx: &Ctx, home: Home, after: Option<TokenId>, limit: u32) -> Result<Vec<ApiToken>> {
    allow(ctx, &home, Permission::ApiTokenRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows =
        within(app, home, "api tokens", move |tx| Box::pin(async move { Ok(tx.api_tokens(after, limit).await?) }))
            .await?;
    rows.into_iter().map(token_of).collect()
}

/// Takes a token back, now. Asking twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn revoke_api_token(app: &App, ctx: &Ctx, home: Home, id: TokenId) -> Result<()> {
    allow(ctx, &home, Permission::ApiTokenRevoke)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    within(app, home, "revoke api token", move |tx| {
        Box::pin(async move {
            let row = tx.api_token(id).await?.ok_or(Error::NotFound { what: "API token" })?;
            if row.revoked_at.is_none() {
                tx.revoke_api_token(id, now).await?;
                let entry = ctx_in.done(now, Action::ApiTokenRevoked).subject(id).severity(Severity::Notice);
                record(tx, &entry.detail(json!({ "name": row.name }))).await?;
            }
            Ok(())
        })
    })
    .await
}

fn allow(ctx: &Ctx, home: &Home, permission: Permission) -> Result<()> {
    match home {
        Some(tenant) => ctx.allow(tenant, permission),
        None => ctx.allow_installation(permission),
    }
}

/// One unit on the tokens of their home.
async fn within<T, F>(app: &App, home: Home, op: &'static str, unit: F) -> Result<T>
where
    T: Send + 'static,
    F: for<'t> FnOnce(&'t mut TenantTx) -> futures::future::BoxFuture<'t, Result<T>> + Send + 'static,
{
    match home {
        Some(tenant) => app.write(&tenant, op, unit).await,
        None => {
            app.store().system_write(op, move |tx| Box::pin(async move { unit(tx.installation().await?).await })).await
        }
    }
}

fn token_of(row: ApiTokenRow) -> Result<ApiToken> {
    Ok(ApiToken {
        id: row.id,
        name: row.name,
        role: row.role.parse().map_err(Error::internal)?,
        created_by: row.created_by,
        created_at: row.created_at,
        expires_at: row.expires_at,
        last_used_at: row.last_used_at,
        revoked_at: row.revoked_at,
    })
}
