//! `GET /v1/tenants/{tenant}/crls`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::publication::lists;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::CrlView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(handler))
}

/// List the signed lists of revoked certificates
///
/// They are for others; no door of the server reads them. At most 273 for each authority.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/crls",
    operation_id = "show_crls",
    tag = "revocations",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Vec<CrlView>)),
    extensions(("x-permission" = json!("device:read"))),
)]
async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Answer<Vec<CrlView>>, Problem> {
    let found = lists(door.app(), &caller.ctx, &caller.tenant).await?;
    Ok(Answer(found.into_iter().map(CrlView::from).collect()))
}
