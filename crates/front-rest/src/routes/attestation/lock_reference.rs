//! `POST /v1/tenants/{tenant}/attestation-references/{reference}/lock`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::attestation::lock_reference;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, ReferenceId};
use crate::problem::Problem;
use crate::view::AttestationReferenceView;

/// End the learning: what was taught is what is good
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/attestation-references/{reference}/lock",
    operation_id = "lock_attestation_reference",
    tag = "attestation",
    params(("tenant" = String, Path), ("reference" = String, Path)),
    responses((status = 200, body = AttestationReferenceView)),
    extensions(("x-permission" = json!("attestation:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(ReferenceId(id)): At<ReferenceId>,
) -> Result<Answer<AttestationReferenceView>, Problem> {
    let locked = lock_reference(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(Answer(AttestationReferenceView::new(locked)))
}
