//! `GET /v1/tenants/{tenant}/rollouts/{rollout}`

use axum::extract::State;
use fleetward_app::rollouts::rollout;
use fleetward_base::RolloutId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::RolloutView;

/// Show a rollout with its progress
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/rollouts/{rollout}",
    operation_id = "show_rollout",
    tag = "rollouts",
    params(("tenant" = String, Path), ("rollout" = String, Path)),
    responses((status = 200, body = RolloutView)),
    extensions(("x-permission" = json!("rollout:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RolloutId>,
) -> Result<Tagged<RolloutView>, Problem> {
    Ok(super::tagged(rollout(door.app(), &caller.ctx, &caller.tenant, id).await?))
}
