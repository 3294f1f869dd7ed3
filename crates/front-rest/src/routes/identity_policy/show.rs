//! `GET /v1/tenants/{tenant}/identity-policy`

use axum::extract::State;
use fleetward_app::identity_policy::show_policy;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::IdentityPolicyView;

/// Show the identity policy
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/identity-policy",
    operation_id = "show_identity_policy",
    tag = "tenants",
    params(("tenant" = String, Path)),
    responses((status = 200, body = IdentityPolicyView)),
    extensions(("x-permission" = json!("tenant:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Tagged<IdentityPolicyView>, Problem> {
    super::view(show_policy(door.app(), &caller.ctx, &caller.tenant).await?)
}
