//! `POST /v1/tenants/{tenant}/rotations`

use axum::extract::State;
use fleetward_app::rotation::create_rotation;

use super::Body;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::RotationView;

/// Begin to renew the certificates of a fleet
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rotations",
    operation_id = "create_rotation",
    tag = "rotations",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = RotationView)),
    extensions(("x-permission" = json!("rotation:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<RotationView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let made = create_rotation(door.app(), &ctx, &tenant, body.value.into()).await?;
    Ok(Tagged::created(made.campaign.revision, RotationView::new(made)))
}
