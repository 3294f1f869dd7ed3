//! `PATCH /v1/tenants/{tenant}`

use axum::extract::State;
use fleetward_app::tenants::{amend_tenant, tenant};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::problem::Problem;
use crate::view::TenantView;

/// What can change of a tenant. What is absent stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AmendTenant, example = json!({ "display_name": "Acme Ltd" }))]
pub(super) struct Body {
    display_name: Option<String>,
}

/// Change a tenant
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}",
    operation_id = "amend_tenant",
    tag = "tenants",
    params(("tenant" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = TenantView)),
    extensions(("x-permission" = json!("tenant:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<TenantView>, Problem> {
    let (ctx, tenant_id) = (&caller.ctx, &caller.tenant);
    let current = async { tenant(door.app(), ctx, tenant_id).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    let after = amend_tenant(door.app(), ctx, tenant_id, expected, body.value.display_name).await?;
    Ok(Tagged::ok(after.revision, super::view(after)))
}
