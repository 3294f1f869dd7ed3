//! `POST /v1/tenants/{tenant}/rollouts/plan`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::rollouts::plan_rollout;

use super::Body;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::PlanView;

/// Say what a rollout would do, and do nothing
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rollouts/plan",
    operation_id = "plan_rollout",
    tag = "rollouts",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 200, body = PlanView)),
    extensions(("x-permission" = json!("rollout:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Answer<PlanView>, Problem> {
    let found = plan_rollout(door.app(), &caller.ctx, &caller.tenant, body.value.into()).await?;
    Ok(Answer(PlanView::new(found)))
}
