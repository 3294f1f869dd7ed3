//! `POST /v1/tenants`

use axum::extract::State;
use fleetward_app::tenants::create_tenant_with_key;
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
    /// Make the issuing CA's key in the server's PKCS#11 token, under this name: `pkcs11:token=LABEL;object=LABEL` (RFC 7512).
    issuing_key: Option<String>,
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
    let Body { name, display_name, issuing_key } = body.value;
    let made = create_tenant_with_key(door.app(), &ctx, name, display_name, issuing_key.as_deref()).await?;
    Ok(Tagged::created(made.revision, super::view(made)))
}
