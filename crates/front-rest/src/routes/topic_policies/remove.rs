//! `DELETE /v1/tenants/{tenant}/topic-policies/{name}`

use axum::extract::State;
use fleetward_app::topic_policies::remove_topic_policy;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Remove a topic policy
///
/// One that is attached to anybody is in use: 409. It has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/topic-policies/{name}",
    operation_id = "remove_topic_policy",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("topic-policy:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
) -> Result<StatusCode, Problem> {
    remove_topic_policy(door.app(), &caller.ctx, &caller.tenant, &name.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
