//! `DELETE /v1/tenants/{tenant}/device-types/{name}`

use axum::extract::State;
use fleetward_app::device_types::remove_device_type;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Remove a type that no device has
///
/// A type has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/device-types/{name}",
    operation_id = "remove_device_type",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
) -> Result<StatusCode, Problem> {
    remove_device_type(door.app(), &caller.ctx, &caller.tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
