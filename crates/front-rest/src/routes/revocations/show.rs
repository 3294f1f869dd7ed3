//! `GET /v1/tenants/{tenant}/revocations/{revocation}`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::revocation::revocation;
use fleetward_base::RevocationId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::RevocationView;

/// Show a revocation and how far it came
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/revocations/{revocation}",
    operation_id = "show_revocation",
    tag = "revocations",
    params(("tenant" = String, Path), ("revocation" = String, Path)),
    responses((status = 200, body = RevocationView)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RevocationId>,
) -> Result<Answer<RevocationView>, Problem> {
    Ok(Answer(revocation(door.app(), &caller.ctx, &caller.tenant, id).await?.into()))
}
