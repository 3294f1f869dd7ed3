//! `GET /v1/tenants/{tenant}/ca-rotation` and `GET /v1/ca-rotation`

use axum::extract::State;
use fleetward_app::ca_rotations::rotation;

use crate::caller::{Caller, InTenant};
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::CaRotationView;

/// Show the rotation of the issuing authority that is open, or the last one
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/ca-rotation",
    operation_id = "show_issuing_rotation",
    tag = "tenants",
    params(("tenant" = String, Path)),
    responses((status = 200, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:read"))),
)]
pub(super) async fn issuing(State(door): State<Door>, caller: InTenant) -> Result<Tagged<CaRotationView>, Problem> {
    Ok(super::tagged(rotation(door.app(), &caller.ctx, Some(&caller.tenant)).await?))
}

/// Show the rotation of the root that is open, or the last one
#[utoipa::path(
    get,
    path = "/v1/ca-rotation",
    operation_id = "show_root_rotation",
    tag = "tenants",
    responses((status = 200, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:root"))),
)]
pub(super) async fn root(State(door): State<Door>, caller: Caller) -> Result<Tagged<CaRotationView>, Problem> {
    Ok(super::tagged(rotation(door.app(), &caller.ctx, None).await?))
}
