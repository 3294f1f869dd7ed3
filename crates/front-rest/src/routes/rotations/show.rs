//! `GET /v1/tenants/{tenant}/rotations/{rotation}`

use axum::extract::State;
use fleetward_app::rotation::rotation;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::{At, RotationId};
use crate::problem::Problem;
use crate::view::RotationView;

/// Show a rotation with its progress
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/rotations/{rotation}",
    operation_id = "show_rotation",
    tag = "rotations",
    params(("tenant" = String, Path), ("rotation" = String, Path)),
    responses((status = 200, body = RotationView)),
    extensions(("x-permission" = json!("rotation:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(RotationId(id)): At<RotationId>,
) -> Result<Tagged<RotationView>, Problem> {
    Ok(super::tagged(rotation(door.app(), &caller.ctx, &caller.tenant, id).await?))
}
