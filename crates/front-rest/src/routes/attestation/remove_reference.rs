//! `DELETE /v1/tenants/{tenant}/attestation-references/{reference}`

use axum::extract::State;
use fleetward_app::attestation::remove_reference;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, ReferenceId};
use crate::problem::Problem;

/// Forget reference values
///
/// They may learn meanwhile, which is no reason to keep them: no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/attestation-references/{reference}",
    operation_id = "remove_attestation_reference",
    tag = "attestation",
    params(("tenant" = String, Path), ("reference" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("attestation:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(ReferenceId(id)): At<ReferenceId>,
) -> Result<StatusCode, Problem> {
    remove_reference(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
