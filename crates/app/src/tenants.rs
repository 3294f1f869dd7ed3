//! Tenants: made with an issuing authority of their own, so that nothing of one can stand for another.

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_store::TenantRow;
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx, authority, idempotency};

const NAME_BYTES: usize = 100;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    pub id: TenantId,
    pub display_name: String,
    pub revision: u64,
    pub created_at: Timestamp,
}

/// Makes a tenant and its issuing authority.
///
/// # Errors
/// `Conflict` (`tenant-exists`), `Invalid` with the field, `Denied`.
pub async fn create_tenant(app: &App, ctx: &Ctx, id: TenantId, display_name: Option<String>) -> Result<Tenant> {
    create_tenant_with_key(app, ctx, id, display_name, None).await
}

/// As [`create_tenant`], with the issuing authority's key in the token that `issuing_key` names (RFC 7512).
///
/// # Errors
/// As [`create_tenant`]; `Invalid` (`issuing_key`) for what names no new key, `Unavailable` where the token is away.
pub async fn create_tenant_with_key(
    app: &App,
    ctx: &Ctx,
    id: TenantId,
    display_name: Option<String>,
    issuing_key: Option<&str>,
) -> Result<Tenant> {
    ctx.allow_installation(Permission::TenantCreate)?;
    let display_name = checked_name(display_name.unwrap_or_else(|| id.to_string()))?;
    let token = match issuing_key {
        // Nothing is made in the token for a tenant that there is already.
        Some(uri) if !exists(app, &id).await? => Some(authority::key_in_token(app, uri).await?),
        _ => None,
    };
    let now = app.now();
    let row = TenantRow { id: id.clone(), display_name, settings: "{}".to_owned(), revision: 1, created_at: now };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.store()
        .system_write("create tenant", move |tx| {
            Box::pin(async move {
                if idempotency::replay::<TenantId>(&app_in, tx.installation().await?, &ctx_in).await?.is_some() {
                    return Ok::<_, Error>(());
                }
                if tx.tenant(&row.id).await?.is_some() {
                    return Err(Error::conflict("tenant-exists", format!("the tenant {} exists", row.id)));
                }
                tx.insert_tenant(&row).await?;
                let entry = ctx_in.done(now, Action::TenantCreated).subject(&row.id).severity(Severity::Notice);
                let entry = entry.detail(json!({ "display_name": row.display_name }));
                record(tx.enter(&row.id).await?, &entry).await?;
                authority::create_issuing(&app_in, tx, &ctx_in, &row.id, token).await?;
                idempotency::keep(&app_in, tx.installation().await?, &ctx_in, &row.id).await
            })
        })
        .await?;
    // From here on its devices are known at the doors.
    authority::refresh_trust(app).await?;
    app.looked().forget();
    tenant(app, ctx, &id).await
}

/// One tenant.
///
/// # Errors
/// `NotFound`.
pub async fn tenant(app: &App, ctx: &Ctx, id: &TenantId) -> Result<Tenant> {
    ctx.allow(id, Permission::TenantRead)?;
    let row = app.read(id, "tenant", |tx| Box::pin(async move { Ok(tx.own_tenant().await?) })).await?;
    row.map(tenant_of).ok_or(Error::NotFound { what: "tenant" })
}

/// A page of the tenants that the principal may see, by name, after `after`.
pub async fn tenants(app: &App, ctx: &Ctx, after: Option<TenantId>, limit: u32) -> Result<Vec<Tenant>> {
    if let crate::Principal::Operator { tenant: Some(home), .. } = &ctx.principal {
        let beyond = after.is_some_and(|after| after >= *home);
        return if beyond { Ok(Vec::new()) } else { Ok(vec![tenant(app, ctx, home).await?]) };
    }
    ctx.allow_installation(Permission::TenantList)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .store()
        .system_read("tenants", move |tx| {
            Box::pin(async move { Ok::<_, Error>(tx.tenants(after.as_ref(), limit).await?) })
        })
        .await?;
    Ok(rows.into_iter().map(tenant_of).collect())
}

/// Changes what a tenant is called, if it is still at `expected`.
///
/// # Errors
/// `NotFound`, `Stale`, `Invalid` with the field.
pub async fn amend_tenant(
    app: &App,
    ctx: &Ctx,
    id: &TenantId,
    expected: u64,
    display_name: Option<String>,
) -> Result<Tenant> {
    ctx.allow(id, Permission::TenantUpdate)?;
    let display_name = display_name.map(checked_name).transpose()?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(id, "amend tenant", move |tx| {
        Box::pin(async move {
            let before = tx.own_tenant().await?.ok_or(Error::NotFound { what: "tenant" })?;
            if before.revision != expected {
                return Err(Error::Stale { expected, found: before.revision });
            }
            let Some(display_name) = display_name.filter(|name| *name != before.display_name) else { return Ok(()) };
            let after = TenantRow { display_name, revision: before.revision + 1, ..before };
            if !tx.update_tenant(&after, expected).await? {
                return Err(Error::Stale { expected, found: expected + 1 });
            }
            let entry = ctx_in.done(now, Action::TenantUpdated).subject(&after.id);
            record(tx, &entry.detail(json!({ "display_name": after.display_name }))).await?;
            Ok(())
        })
    })
    .await?;
    tenant(app, ctx, id).await
}

/// Whether there is such a tenant, for what comes before authorisation.
pub async fn exists(app: &App, id: &TenantId) -> Result<bool> {
    app.read(id, "tenant exists", |tx| Box::pin(async move { Ok(tx.own_tenant().await?.is_some()) })).await
}

fn checked_name(name: String) -> Result<String> {
    check_line("display_name", &name, NAME_BYTES)?;
    Ok(name)
}

fn tenant_of(row: TenantRow) -> Tenant {
    Tenant { id: row.id, display_name: row.display_name, revision: row.revision, created_at: row.created_at }
}
