//! `DELETE /v1/tenants/{tenant}/attestation-anchors/{anchor}`

use axum::extract::State;
use fleetward_app::attestation::remove_anchor;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{AnchorId, At};
use crate::problem::Problem;

/// Believe nothing more on the word of an anchor
///
/// An anchor never changes otherwise, so it has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/attestation-anchors/{anchor}",
    operation_id = "remove_attestation_anchor",
    tag = "attestation",
    params(("tenant" = String, Path), ("anchor" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("attestation:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(AnchorId(id)): At<AnchorId>,
) -> Result<StatusCode, Problem> {
    remove_anchor(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
