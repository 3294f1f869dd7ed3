//! `GET /v1/tenants/{tenant}/transparency/certificates/{serial}`

use axum::Json as Answer;
use axum::extract::{Path, State};
use fleetward_app::transparency::inclusion;

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::TransparencyInclusionView;

/// Prove that a certificate is in the log
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/transparency/certificates/{serial}",
    operation_id = "prove_transparency_inclusion",
    tag = "transparency",
    params(("tenant" = String, Path), ("serial" = String, Path)),
    responses((status = 200, body = TransparencyInclusionView)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    Path(names): Path<(String, String)>,
) -> Result<Answer<TransparencyInclusionView>, Problem> {
    Ok(Answer(inclusion(door.app(), &caller.ctx, &caller.tenant, &names.1).await?.into()))
}
