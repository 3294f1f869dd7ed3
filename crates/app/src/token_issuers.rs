//! Token services whose word a tenant takes for a device (requirement I13): registered with their public keys or with the
//! URL that has them, switched off and on, and removed.
//!
//! What a token is worth is decided at the door that it comes to ([`crate::enroll`]). What is switched off or removed lets
//! nobody in any more, and sessions that stand on its word end right after the commit.

pub(crate) mod keys;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::token_issuer::Rules;
use fleetward_pki::jwt::KeySet;
use fleetward_store::{TenantTx, TokenIssuerRow};
use serde_json::json;

use crate::error::{Error, Result};
use crate::journal::record;
use crate::provisioning::outbound;
use crate::{App, Ctx};

/// Where the public keys of a token service are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAt {
    /// Here, as a JWK Set.
    Given(String),
    /// There; `anchors` (PEM) are what its server is held to, the usual ones where none are given.
    Url { url: String, anchors: Option<String> },
}

/// A token service as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuerView {
    pub name: String,
    pub rules: Rules,
    /// None: the keys were given.
    pub jwks_url: Option<String>,
    pub pinned: bool,
    /// The keys that were given, by the SHA-256 of their SubjectPublicKeyInfo, as the deny list takes it.
    pub keys: Vec<String>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub disabled_at: Option<Timestamp>,
}

/// Believes this token service from now on, in place of what was said under the same name. Keys at a URL are asked for at
/// once, so that one that does not work is not kept.
///
/// # Errors
/// `Invalid` with the field; `Conflict` (`token-issuers-full`, `token-issuer-taken`); `Untrusted` (`token-keys`) where the
/// URL does not answer with keys.
pub async fn register_token_issuer(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    rules: Rules,
    at: KeysAt,
) -> Result<TokenIssuerView> {
    ctx.allow(tenant, Permission::TokenIssuerManage)?;
    if !(1..=64).contains(&name.len()) || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Err(Error::invalid("name", "1 to 64 letters, digits, - and _"));
    }
    rules.check().map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    check_keys(app, &at).await?;
    let now = app.now();
    let (jwks, jwks_url, anchors) = match at {
        KeysAt::Given(jwks) => (Some(jwks), None, None),
        KeysAt::Url { url, anchors } => (None, Some(url), anchors),
    };
    let row = TokenIssuerRow {
        name: name.to_owned(),
        issuer: rules.issuer.clone(),
        rules: serde_json::to_string(&rules).map_err(Error::internal)?,
        jwks,
        jwks_url,
        anchors,
        created_by: ctx.principal.actor().name,
        created_at: now,
        updated_at: now,
        disabled_at: None,
    };
    let (ctx_in, name_in) = (ctx.clone(), name.to_owned());
    let row = app
        .write(tenant, "register token issuer", move |tx| {
            Box::pin(async move {
                let before = tx.token_issuer(&row.name).await?;
                let most = usize::try_from(limits::TOKEN_ISSUERS).unwrap_or(usize::MAX);
                if before.is_none() && tx.token_issuers(None, limits::TOKEN_ISSUERS).await?.len() >= most {
                    return Err(Error::conflict("token-issuers-full", format!("there are {most} already")));
                }
                if tx.token_issuer_of(&row.issuer).await?.is_some_and(|it| it.name != row.name) {
                    return Err(Error::conflict("token-issuer-taken", "the issuer stands under another name"));
                }
                tx.put_token_issuer(&row).await?;
                let entry = ctx_in.done(now, Action::TokenIssuerRegistered).subject(&row.name);
                let detail = json!({ "issuer": row.issuer, "replaced": before.is_some() });
                record(tx, &entry.severity(Severity::Notice).detail(detail)).await?;
                tx.token_issuer(&name_in).await?.ok_or(Error::NotFound { what: "token issuer" })
            })
        })
        .await?;
    changed(app, tenant, name);
    view(row)
}

async fn check_keys(app: &App, at: &KeysAt) -> Result<()> {
    match at {
        KeysAt::Given(jwks) if jwks.len() > limits::TOKEN_KEYS_BYTES => {
            Err(Error::TooLarge { what: "the set of keys", limit: limits::TOKEN_KEYS_BYTES as u64 })
        }
        KeysAt::Given(jwks) => {
            KeySet::parse(jwks.as_bytes()).map(drop).map_err(|error| Error::invalid("jwks", error.to_string()))
        }
        KeysAt::Url { url, anchors } => {
            outbound::check_url(url, &app.settings()?.hook_networks)
                .map_err(|error| Error::invalid("jwks_url", error.to_string()))?;
            if let Some(pem) = anchors {
                outbound::anchors(pem).map_err(|error| Error::invalid("anchors", error.to_string()))?;
            }
            keys::fetch(app, url, anchors.as_deref())
                .await
                .map(drop)
                .map_err(|why| Error::Untrusted { code: "token-keys", reason: why })
        }
    }
}

/// One token service.
///
/// # Errors
/// `NotFound`.
pub async fn token_issuer(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<TokenIssuerView> {
    ctx.allow(tenant, Permission::TokenIssuerRead)?;
    let name = name.to_owned();
    let row = app.read(tenant, "token issuer", move |tx| Box::pin(async move { existing(tx, &name).await })).await?;
    view(row)
}

/// A page of them, by name, after `after`.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn token_issuers(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<TokenIssuerView>> {
    ctx.allow(tenant, Permission::TokenIssuerRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "token issuers", move |tx| {
            Box::pin(async move { Ok(tx.token_issuers(after.as_deref(), limit).await?) })
        })
        .await?;
    rows.into_iter().map(view).collect()
}

/// Takes its word no more, or again. Its sessions end right after the commit. Asking twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn enable_token_issuer(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    enabled: bool,
) -> Result<TokenIssuerView> {
    ctx.allow(tenant, Permission::TokenIssuerManage)?;
    let (now, ctx_in, name_in) = (app.now(), ctx.clone(), name.to_owned());
    let row = app
        .write(tenant, "switch token issuer", move |tx| {
            Box::pin(async move {
                let before = existing(tx, &name_in).await?;
                if before.disabled_at.is_none() == enabled {
                    return Ok(before);
                }
                let row = TokenIssuerRow { disabled_at: (!enabled).then_some(now), updated_at: now, ..before };
                tx.put_token_issuer(&row).await?;
                let action = if enabled { Action::TokenIssuerEnabled } else { Action::TokenIssuerDisabled };
                let severity = if enabled { Severity::Notice } else { Severity::Warning };
                let entry = ctx_in.done(now, action).subject(&row.name).severity(severity);
                record(tx, &entry.detail(json!({ "issuer": row.issuer }))).await?;
                Ok(row)
            })
        })
        .await?;
    changed(app, tenant, name);
    view(row)
}

/// Forgets it. Its sessions end right after the commit; certificates that were given for its tokens stay.
///
/// # Errors
/// `NotFound`.
pub async fn remove_token_issuer(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<()> {
    ctx.allow(tenant, Permission::TokenIssuerManage)?;
    let (now, ctx_in, name_in) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "remove token issuer", move |tx| {
        Box::pin(async move {
            if !tx.remove_token_issuer(&name_in).await? {
                return Err(Error::NotFound { what: "token issuer" });
            }
            let entry = ctx_in.done(now, Action::TokenIssuerRemoved).subject(&name_in).severity(Severity::Warning);
            record(tx, &entry).await?;
            Ok(())
        })
    })
    .await?;
    changed(app, tenant, name);
    Ok(())
}

/// After the commit: keys are asked for anew, and sessions are held against what counts now.
fn changed(app: &App, tenant: &TenantId, name: &str) {
    app.token_keys().forget(tenant, name);
    if let Some(links) = app.links() {
        links.recheck_all(tenant);
    }
}

async fn existing(tx: &mut TenantTx, name: &str) -> Result<TokenIssuerRow> {
    tx.token_issuer(name).await?.ok_or(Error::NotFound { what: "token issuer" })
}

/// What is believed of it.
pub(crate) fn rules_of(row: &TokenIssuerRow) -> Result<Rules> {
    serde_json::from_str(&row.rules).map_err(Error::internal)
}

fn view(row: TokenIssuerRow) -> Result<TokenIssuerView> {
    let keys = match &row.jwks {
        Some(jwks) => KeySet::parse(jwks.as_bytes()).map_err(Error::internal)?.keys().to_vec(),
        None => Vec::new(),
    };
    Ok(TokenIssuerView {
        rules: rules_of(&row)?,
        name: row.name,
        jwks_url: row.jwks_url,
        pinned: row.anchors.is_some(),
        keys: keys.into_iter().map(|key| key.fingerprint).collect(),
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        disabled_at: row.disabled_at,
    })
}
