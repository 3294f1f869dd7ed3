//! `POST /v1/tenants`

use axum::extract::State;
use fleetward_app::tenants::create_tenant;
use fleetward_base::TenantId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::Caller;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::TenantView;

/// A customer to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateTenant, example = json!({ "name": "acme", "display_name": "Acme Corporation" }))]
pub(super) struct Body {
    /// 1 to 40 of a-z, 0-9 and -. Fixed for good: it stands in certificates, EST labels and paths.
    #[schema(value_type = String)]
    name: TenantId,
    display_name: Option<String>,
}

/// Make a tenant and its issuing CA
#[utoipa::path(
    post,
    path = "/v1/tenants",
    operation_id = "create_tenant",
    tag = "tenants",
    request_body = Body,
    responses((status = 201, body = TenantView)),
    extensions(("x-permission" = json!("tenant:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: Caller,
    body: Json<Body>,
) -> Result<Tagged<TenantView>, Problem> {
    let ctx = caller.once(&body);
    let made = create_tenant(door.app(), &ctx, body.value.name, body.value.display_name).await?;
    Ok(Tagged::created(made.revision, super::view(made)))
}
