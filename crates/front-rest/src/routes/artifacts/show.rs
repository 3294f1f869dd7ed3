//! `GET` and `HEAD /v1/tenants/{tenant}/artifacts/{sha256}`

use axum::Json;
use axum::extract::State;
use fleetward_app::releases::artifact;
use fleetward_supply::Sha256;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::ArtifactView;

/// Show an artifact, or with HEAD whether it is there
///
/// Its bytes are for devices, at their own door.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/artifacts/{sha256}",
    operation_id = "show_artifact",
    tag = "releases",
    params(("tenant" = String, Path), ("sha256" = String, Path)),
    responses((status = 200, body = ArtifactView)),
    extensions(("x-permission" = json!("release:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(sha256): At<Sha256>,
) -> Result<Json<ArtifactView>, Problem> {
    Ok(Json(ArtifactView::new(artifact(door.app(), &caller.ctx, &caller.tenant, sha256).await?)))
}
