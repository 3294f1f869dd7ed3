//! `POST /v1/tenants/{tenant}/rollouts/{rollout}/` `pause`, `resume`, `cancel` and `rollback`

use axum::extract::State;
use fleetward_app::rollouts::{cancel_rollout, pause_rollout, resume_rollout, roll_back_rollout};
use fleetward_base::RolloutId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::RolloutView;

type Answer = Result<Tagged<RolloutView>, Problem>;

/// Why a rollout is paused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PauseRollout, example = json!({ "note": "the canary looks slow" }))]
pub(in crate::routes) struct Note {
    /// For the others.
    pub(in crate::routes) note: Option<String>,
}

/// Nothing to say.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Nothing, example = json!({}))]
pub(in crate::routes) struct Nothing {}

/// Pause a rollout
///
/// Nothing more is handed out; devices that began go on.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rollouts/{rollout}/pause",
    operation_id = "pause_rollout",
    tag = "rollouts",
    params(("tenant" = String, Path), ("rollout" = String, Path)),
    request_body = Note,
    responses((status = 200, body = RolloutView)),
    extensions(("x-permission" = json!("rollout:control"))),
)]
pub(super) async fn pause(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RolloutId>,
    body: Json<Note>,
) -> Answer {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(pause_rollout(door.app(), &ctx, &tenant, id, body.value.note).await?))
}

/// Resume a rollout
///
/// What failed so far no longer counts against it.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rollouts/{rollout}/resume",
    operation_id = "resume_rollout",
    tag = "rollouts",
    params(("tenant" = String, Path), ("rollout" = String, Path)),
    request_body = Nothing,
    responses((status = 200, body = RolloutView)),
    extensions(("x-permission" = json!("rollout:control"))),
)]
pub(super) async fn resume(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RolloutId>,
    body: Json<Nothing>,
) -> Answer {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(resume_rollout(door.app(), &ctx, &tenant, id).await?))
}

/// Cancel a rollout
///
/// Devices that have the update keep it.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rollouts/{rollout}/cancel",
    operation_id = "cancel_rollout",
    tag = "rollouts",
    params(("tenant" = String, Path), ("rollout" = String, Path)),
    request_body = Nothing,
    responses((status = 200, body = RolloutView)),
    extensions(("x-permission" = json!("rollout:control"))),
)]
pub(super) async fn cancel(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RolloutId>,
    body: Json<Nothing>,
) -> Answer {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(cancel_rollout(door.app(), &ctx, &tenant, id).await?))
}

/// Roll a rollout back
///
/// Devices that have the update go back to what they ran before.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/rollouts/{rollout}/rollback",
    operation_id = "roll_back_rollout",
    tag = "rollouts",
    params(("tenant" = String, Path), ("rollout" = String, Path)),
    request_body = Nothing,
    responses((status = 200, body = RolloutView)),
    extensions(("x-permission" = json!("rollout:control"))),
)]
pub(super) async fn roll_back(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RolloutId>,
    body: Json<Nothing>,
) -> Answer {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(roll_back_rollout(door.app(), &ctx, &tenant, id).await?))
}
