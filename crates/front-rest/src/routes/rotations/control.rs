//! `POST /v1/tenants/{tenant}/rotations/{rotation}/` `pause`, `resume` and `cancel`

use axum::extract::State;
use fleetward_app::rotation::{cancel_rotation, pause_rotation, resume_rotation};

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::{At, RotationId};
use crate::problem::Problem;
use crate::routes::rollouts::{Note, Nothing};
use crate::view::RotationView;

type Answer = Result<Tagged<RotationView>, Problem>;

/// Pause a rotation
///
/// Nobody else is asked; devices that were asked go on.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rotations/{rotation}/pause",
    operation_id = "pause_rotation",
    tag = "rotations",
    params(("tenant" = String, Path), ("rotation" = String, Path)),
    request_body = Note,
    responses((status = 200, body = RotationView)),
    extensions(("x-permission" = json!("rotation:control"))),
)]
pub(super) async fn pause(
    State(door): State<Door>,
    caller: InTenant,
    At(RotationId(id)): At<RotationId>,
    body: Json<Note>,
) -> Answer {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(pause_rotation(door.app(), &ctx, &tenant, id, body.value.note).await?))
}

/// Resume a rotation
///
/// What failed so far no longer counts against it.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rotations/{rotation}/resume",
    operation_id = "resume_rotation",
    tag = "rotations",
    params(("tenant" = String, Path), ("rotation" = String, Path)),
    request_body = Nothing,
    responses((status = 200, body = RotationView)),
    extensions(("x-permission" = json!("rotation:control"))),
)]
pub(super) async fn resume(
    State(door): State<Door>,
    caller: InTenant,
    At(RotationId(id)): At<RotationId>,
    body: Json<Nothing>,
) -> Answer {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(resume_rotation(door.app(), &ctx, &tenant, id).await?))
}

/// Cancel a rotation
///
/// Devices that were asked may go on; nobody else is.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rotations/{rotation}/cancel",
    operation_id = "cancel_rotation",
    tag = "rotations",
    params(("tenant" = String, Path), ("rotation" = String, Path)),
    request_body = Nothing,
    responses((status = 200, body = RotationView)),
    extensions(("x-permission" = json!("rotation:control"))),
)]
pub(super) async fn cancel(
    State(door): State<Door>,
    caller: InTenant,
    At(RotationId(id)): At<RotationId>,
    body: Json<Nothing>,
) -> Answer {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(cancel_rotation(door.app(), &ctx, &tenant, id).await?))
}
