//! `DELETE /v1/tenants/{tenant}/topic-policies/{name}/versions/{version}`

use axum::extract::State;
use fleetward_app::topic_policies::remove_topic_policy_version;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name, VersionNumber};
use crate::problem::Problem;

/// Remove a version of a topic policy
///
/// Not the one that counts: 409.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/topic-policies/{name}/versions/{version}",
    operation_id = "remove_topic_policy_version",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path), ("version" = u64, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("topic-policy:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
    At(version): At<VersionNumber>,
) -> Result<StatusCode, Problem> {
    remove_topic_policy_version(door.app(), &caller.ctx, &caller.tenant, &name.0, version.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
