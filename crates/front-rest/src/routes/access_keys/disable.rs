//! `POST /v1/tenants/{tenant}/access-keys/{access_key}/disable`

use axum::extract::State;
use fleetward_app::access_keys::disable_access_key;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{AccessKeyId, At};
use crate::problem::Problem;

/// Disable an access key, from the next request on
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/access-keys/{access_key}/disable",
    operation_id = "disable_access_key",
    tag = "access",
    params(("tenant" = String, Path), ("access_key" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("access-key:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<AccessKeyId>,
) -> Result<StatusCode, Problem> {
    disable_access_key(door.app(), &caller.ctx, &caller.tenant, &id.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
