//! `DELETE /v1/tenants/{tenant}/signers/{signer}`

use axum::extract::State;
use fleetward_app::releases::{revoke_signer, signer};
use fleetward_base::SignerId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::path::At;
use crate::problem::Problem;
use crate::view::SignerView;

/// Accept no new releases signed with a key
///
/// What was released stays. The signer stays in the list, revoked.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/signers/{signer}",
    operation_id = "revoke_signer",
    tag = "releases",
    params(
        ("tenant" = String, Path),
        ("signer" = String, Path),
        ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`"),
    ),
    responses((status = 200, body = SignerView)),
    extensions(("x-permission" = json!("signer:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    InTenant { ctx, tenant, .. }: InTenant,
    At(id): At<SignerId>,
    if_match: IfMatch,
) -> Result<Tagged<SignerView>, Problem> {
    let current = async { signer(door.app(), &ctx, &tenant, id).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    Ok(super::tagged(revoke_signer(door.app(), &ctx, &tenant, id, expected).await?))
}
