//! `GET /v1/tenants/{tenant}/signers/{signer}`

use axum::extract::State;
use fleetward_app::releases::signer;
use fleetward_base::SignerId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::SignerView;

/// Show a signer
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/signers/{signer}",
    operation_id = "show_signer",
    tag = "releases",
    params(("tenant" = String, Path), ("signer" = String, Path)),
    responses((status = 200, body = SignerView)),
    extensions(("x-permission" = json!("signer:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<SignerId>,
) -> Result<Tagged<SignerView>, Problem> {
    Ok(super::tagged(signer(door.app(), &caller.ctx, &caller.tenant, id).await?))
}
