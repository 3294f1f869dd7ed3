//! `GET /v1/tenants/{tenant}/attestation-references/{reference}`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::attestation::reference;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, ReferenceId};
use crate::problem::Problem;
use crate::view::AttestationReferenceView;

/// Show reference values
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/attestation-references/{reference}",
    operation_id = "show_attestation_reference",
    tag = "attestation",
    params(("tenant" = String, Path), ("reference" = String, Path)),
    responses((status = 200, body = AttestationReferenceView)),
    extensions(("x-permission" = json!("attestation:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(ReferenceId(id)): At<ReferenceId>,
) -> Result<Answer<AttestationReferenceView>, Problem> {
    let found = reference(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(Answer(AttestationReferenceView::new(found)))
}
