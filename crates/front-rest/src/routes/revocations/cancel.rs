//! `POST /v1/tenants/{tenant}/revocations/{revocation}/cancel`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::revocation::cancel;
use fleetward_base::RevocationId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::RevocationView;

/// Call off a replacement, or the rest of a revocation
///
/// What was revoked stays revoked.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/revocations/{revocation}/cancel",
    operation_id = "cancel_revocation",
    tag = "revocations",
    params(("tenant" = String, Path), ("revocation" = String, Path)),
    responses((status = 200, body = RevocationView)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RevocationId>,
) -> Result<Answer<RevocationView>, Problem> {
    Ok(Answer(cancel(door.app(), &caller.ctx, &caller.tenant, id).await?.into()))
}
