//! Reading releases.

use fleetward_base::{ReleaseId, TenantId, limits};
use fleetward_core::access::Permission;

use super::{ReleaseView, view};
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// One release.
///
/// # Errors
/// `NotFound`.
pub async fn release(app: &App, ctx: &Ctx, tenant: &TenantId, id: ReleaseId) -> Result<ReleaseView> {
    ctx.allow(tenant, Permission::ReleaseRead)?;
    load(app, tenant, id).await
}

pub(super) async fn load(app: &App, tenant: &TenantId, id: ReleaseId) -> Result<ReleaseView> {
    let row = app.read(tenant, "release", move |tx| Box::pin(async move { Ok(tx.release(id).await?) })).await?;
    view(row.ok_or(Error::NotFound { what: "release" })?)
}

/// A page of the releases of one name, or of all, oldest first, after `after`.
pub async fn releases(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: Option<String>,
    after: Option<ReleaseId>,
    limit: u32,
) -> Result<Vec<ReleaseView>> {
    ctx.allow(tenant, Permission::ReleaseRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "releases", move |tx| {
            Box::pin(async move { Ok(tx.releases(name.as_deref(), after, limit).await?) })
        })
        .await?;
    rows.into_iter().map(view).collect()
}
