//! `GET /v1/tenants/{tenant}/transparency`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::transparency::head;

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::TransparencyHeadView;

/// Show the head of the log of certificates
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/transparency",
    operation_id = "show_transparency_head",
    tag = "transparency",
    params(("tenant" = String, Path)),
    responses((status = 200, body = TransparencyHeadView)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
) -> Result<Answer<TransparencyHeadView>, Problem> {
    Ok(Answer(head(door.app(), &caller.ctx, &caller.tenant).await?.into()))
}
