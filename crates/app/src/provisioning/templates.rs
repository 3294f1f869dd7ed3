//! Provisioning templates: kept as they came, read before they are kept.

use fleetward_base::{Secret, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_core::provisioning::Template as Read;
use fleetward_store::TemplateRow;
use fleetward_wire::aws::provisioning::is_template_name;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{hook, outbound};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub name: String,
    pub body: String,
    /// What in it has no meaning here, or another one.
    pub warnings: Vec<String>,
    pub hook_url: Option<String>,
    /// Whether the hook's server is held to certificates of its own.
    pub hook_ca: Option<String>,
    pub enabled: bool,
    pub revision: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a template is made of, or what of it is to change.
#[derive(Clone, Debug, Default)]
pub struct TemplateInput {
    pub body: Option<String>,
    /// `Some(None)` takes the hook away.
    pub hook_url: Option<Option<String>>,
    pub hook_ca: Option<Option<String>>,
    pub enabled: Option<bool>,
}

/// A template that was made or changed, with the secret of its hook where there is a new one: shown this once.
#[derive(Clone, Serialize, Deserialize)]
pub struct Kept {
    pub name: String,
    pub hook_secret: Option<String>,
}

/// Makes a template.
///
/// # Errors
/// `Invalid` with the path within the template, `Conflict` (`template-exists`).
pub async fn create_template(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    input: TemplateInput,
) -> Result<Kept> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    if !is_template_name(name) {
        return Err(Error::invalid("name", "1 to 36 of a-z, A-Z, 0-9, _ and -"));
    }
    let body = input.body.clone().ok_or_else(|| Error::invalid("body", "is missing"))?;
    let now = app.now();
    let blank = TemplateRow {
        name: name.to_owned(),
        body,
        hook_url: None,
        hook_secret: None,
        hook_ca: None,
        enabled: true,
        revision: 1,
        created_by: ctx.principal.actor().name,
        created_at: now,
        updated_at: now,
    };
    let (row, secret) = amended(app, tenant, blank, input)?;
    let kept = Kept { name: row.name.clone(), hook_secret: secret.map(|secret| secret.expose().clone()) };
    let (app_in, ctx_in) = (app.clone(), ctx.clone());
    app.write(tenant, "create template", move |tx| {
        Box::pin(async move {
            if let Some(kept) = idempotency::replay(&app_in, tx, &ctx_in).await? {
                return Ok(kept);
            }
            if !tx.insert_template(&row).await? {
                return Err(Error::conflict("template-exists", format!("the template {} exists", row.name)));
            }
            let entry = ctx_in.done(now, Action::ProvisioningTemplateCreated).subject(&row.name);
            record(tx, &entry.detail(json!({ "hook": row.hook_url.is_some() }))).await?;
            idempotency::keep(&app_in, tx, &ctx_in, &kept).await?;
            Ok(kept)
        })
    })
    .await
}

/// Changes a template that is still at `expected`.
///
/// # Errors
/// `NotFound`, `Stale`, `Invalid` with the path within the template.
pub async fn amend_template(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    expected: u64,
    input: TemplateInput,
) -> Result<Kept> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let (now, name, app_in, ctx_in, tenant_in) = (app.now(), name.to_owned(), app.clone(), ctx.clone(), tenant.clone());
    app.write(tenant, "amend template", move |tx| {
        Box::pin(async move {
            let before = tx.template(&name).await?.ok_or(Error::NotFound { what: "template" })?;
            if before.revision != expected {
                return Err(Error::Stale { expected, found: before.revision });
            }
            let (row, secret) = amended(&app_in, &tenant_in, before, input)?;
            let row = TemplateRow { revision: expected + 1, updated_at: now, ..row };
            if !tx.update_template(&row, expected).await? {
                return Err(Error::Stale { expected, found: expected + 1 });
            }
            let entry = ctx_in.done(now, Action::ProvisioningTemplateUpdated).subject(&row.name);
            let detail = json!({ "hook": row.hook_url.is_some(), "enabled": row.enabled });
            record(tx, &entry.detail(detail)).await?;
            Ok(Kept { name: row.name, hook_secret: secret.map(|secret| secret.expose().clone()) })
        })
    })
    .await
}

/// The row as the input asks for it. A hook that is new, or goes elsewhere, gets a new secret.
fn amended(
    app: &App,
    tenant: &TenantId,
    mut row: TemplateRow,
    input: TemplateInput,
) -> Result<(TemplateRow, Option<Secret<String>>)> {
    if let Some(body) = input.body {
        row.body = body;
    }
    Read::parse(&row.body).map_err(|error| {
        let field = if error.path.is_empty() { "body".to_owned() } else { format!("body.{}", error.path) };
        Error::invalid(field, error.why)
    })?;
    if let Some(enabled) = input.enabled {
        row.enabled = enabled;
    }
    if let Some(ca) = input.hook_ca {
        if let Some(pem) = &ca {
            outbound::anchors(pem).map_err(|error| Error::invalid("hook_ca", error.to_string()))?;
        }
        row.hook_ca = ca;
    }
    let mut secret = None;
    if let Some(url) = input.hook_url {
        if let Some(url) = &url {
            outbound::check_url(url, &app.settings()?.hook_networks)
                .map_err(|error| Error::invalid("hook_url", error.to_string()))?;
        }
        if url.is_some() && url != row.hook_url {
            let new = hook::new_secret(app.rng().as_ref());
            row.hook_secret = Some(hook::seal(app, tenant, &row.name, &new)?);
            secret = Some(new);
        }
        if url.is_none() {
            (row.hook_secret, row.hook_ca) = (None, None);
        }
        row.hook_url = url;
    }
    if row.body.len() > limits::TEMPLATE_BYTES {
        return Err(Error::invalid("body", format!("longer than {} bytes", limits::TEMPLATE_BYTES)));
    }
    Ok((row, secret))
}

/// One template.
///
/// # Errors
/// `NotFound`.
pub async fn template(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<Template> {
    ctx.allow(tenant, Permission::ProvisioningRead)?;
    let name = name.to_owned();
    let row = app.read(tenant, "template", move |tx| Box::pin(async move { Ok(tx.template(&name).await?) })).await?;
    row.map(template_of).ok_or(Error::NotFound { what: "template" })
}

/// A page of the templates, by name, after `after`.
pub async fn templates(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<Template>> {
    ctx.allow(tenant, Permission::ProvisioningRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "templates", move |tx| Box::pin(async move { Ok(tx.templates(after.as_deref(), limit).await?) }))
        .await?;
    Ok(rows.into_iter().map(template_of).collect())
}

/// Takes a template away that is still at `expected`. Claims that name it get nothing by it from then on.
///
/// # Errors
/// `NotFound`, `Stale`.
pub async fn delete_template(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str, expected: u64) -> Result<()> {
    ctx.allow(tenant, Permission::ProvisioningManage)?;
    let (now, name, ctx_in) = (app.now(), name.to_owned(), ctx.clone());
    app.write(tenant, "delete template", move |tx| {
        Box::pin(async move {
            let row = tx.template(&name).await?.ok_or(Error::NotFound { what: "template" })?;
            if !tx.delete_template(&name, expected).await? {
                return Err(Error::Stale { expected, found: row.revision });
            }
            record(tx, &ctx_in.done(now, Action::ProvisioningTemplateDeleted).subject(&name)).await?;
            Ok(())
        })
    })
    .await
}

/// Seals the secrets of a tenant's hooks again under its newest key, where they are under another; for the walk behind a
/// rotation. How many.
pub(crate) async fn reseal_hooks(app: &App, tenant: &TenantId) -> Result<usize> {
    let (mut after, mut sealed): (Option<String>, usize) = (None, 0);
    loop {
        let from = after.take();
        let rows = app
            .read(tenant, "hooks to seal again", move |tx| {
                Box::pin(async move { Ok(tx.templates(from.as_deref(), limits::PAGE_ROWS).await?) })
            })
            .await?;
        let Some(last) = rows.last() else { return Ok(sealed) };
        after = Some(last.name.clone());
        for row in rows {
            let Some(hook_secret) = hook::reseal(app, tenant, &row)? else { continue };
            let kept = app.write(tenant, "seal hook again", move |tx| {
                Box::pin(async move {
                    // The same secret: nobody who saw this revision saw another.
                    let expected = row.revision;
                    let row = TemplateRow { hook_secret: Some(hook_secret), ..row };
                    Ok(tx.update_template(&row, expected).await?)
                })
            });
            sealed += usize::from(kept.await?);
        }
    }
}

fn template_of(row: TemplateRow) -> Template {
    let warnings = Read::parse(&row.body).map(|read| read.warnings).unwrap_or_default();
    Template {
        name: row.name,
        body: row.body,
        warnings,
        hook_url: row.hook_url,
        hook_ca: row.hook_ca,
        enabled: row.enabled,
        revision: row.revision,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}
