//! The emergency switch: a tenant's keys, or those of all tenants, are not used any more until an administrator says so.

use fleetward_base::TenantId;
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_store::{SystemTx, VaultHoldRow};
use serde_json::json;

use super::refresh;
use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx};

const REASON_BYTES: usize = 500;

/// Disables the keys of `tenant`, or of all tenants: nothing of theirs is opened or signed any more, here at once and on every
/// other server within a second. Asking twice is harmless.
///
/// # Errors
/// `NotFound`, `Denied`, `Invalid` (`reason`).
pub async fn disable(app: &App, ctx: &Ctx, tenant: Option<&TenantId>, reason: &str) -> Result<()> {
    allow(ctx, tenant, Permission::VaultDisable)?;
    check_line("reason", reason, REASON_BYTES)?;
    let row = VaultHoldRow { reason: reason.to_owned(), held_by: ctx.principal.actor().name, held_at: app.now() };
    switch(app, ctx, tenant, Some(row)).await
}

/// Enables them again, which the installation's administrator alone may.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn enable(app: &App, ctx: &Ctx, tenant: Option<&TenantId>) -> Result<()> {
    // Whoever has a tenant's credentials, and is why its keys were disabled, must not have the last word.
    allow(ctx, tenant, Permission::VaultEnable)?;
    ctx.allow_installation(Permission::VaultEnable)?;
    switch(app, ctx, tenant, None).await
}

pub(super) fn allow(ctx: &Ctx, tenant: Option<&TenantId>, permission: Permission) -> Result<()> {
    match tenant {
        Some(tenant) => ctx.allow(tenant, permission),
        None => ctx.allow_installation(permission),
    }
}

async fn switch(app: &App, ctx: &Ctx, tenant: Option<&TenantId>, hold: Option<VaultHoldRow>) -> Result<()> {
    let (ctx_in, tenant, now) = (ctx.clone(), tenant.cloned(), app.now());
    app.store()
        .system_write("vault switch", move |tx: &mut SystemTx| {
            Box::pin(async move {
                tx.installation().await?.touch_vault().await?;
                let tx = match &tenant {
                    Some(tenant) => tx.enter(tenant).await?,
                    None => tx.installation().await?,
                };
                if tenant.is_some() && tx.own_tenant().await?.is_none() {
                    return Err(Error::NotFound { what: "tenant" });
                }
                let (changed, action, detail) = match &hold {
                    Some(row) => (tx.hold_vault(row).await?, Action::VaultDisabled, json!({ "reason": row.reason })),
                    None => (tx.release_vault().await?, Action::VaultEnabled, json!({})),
                };
                if changed {
                    let entry = ctx_in.done(now, action).severity(Severity::Critical).detail(detail);
                    record(tx, &entry).await?;
                }
                Ok(())
            })
        })
        .await?;
    refresh(app).await
}
