//! `POST /v1/tenants/{tenant}/rollouts`

use axum::extract::State;
use fleetward_app::rollouts::create_rollout;

use super::Body;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::RolloutView;

/// Begin a staged update
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rollouts",
    operation_id = "create_rollout",
    tag = "rollouts",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = RolloutView)),
    extensions(("x-permission" = json!("rollout:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<RolloutView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let made = create_rollout(door.app(), &ctx, &tenant, body.value.into()).await?;
    Ok(Tagged::created(made.rollout.revision, RolloutView::new(made)))
}
