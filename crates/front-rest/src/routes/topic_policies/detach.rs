//! `POST /v1/tenants/{tenant}/topic-policies/{name}/detach`

use axum::extract::State;
use fleetward_app::topic_policies::detach_topic_policy;
use http::StatusCode;

use super::TargetBody;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Detach a topic policy
///
/// Asking twice is harmless. Sessions that are there lose what it gave at once.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/topic-policies/{name}/detach",
    operation_id = "detach_topic_policy",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    request_body = TargetBody,
    responses((status = 204)),
    extensions(("x-permission" = json!("topic-policy:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
    body: Json<TargetBody>,
) -> Result<StatusCode, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let target = body.value.target()?;
    detach_topic_policy(door.app(), &ctx, &tenant, &name.0, &target).await?;
    Ok(StatusCode::NO_CONTENT)
}
