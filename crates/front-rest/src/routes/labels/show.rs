//! `GET /v1/tenants/{tenant}/labels/{labelled}/{name}`

use axum::Json;
use axum::extract::State;
use fleetward_app::labels::labels;

use super::View;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Labelled, Name};
use crate::problem::Problem;

/// Show the labels on something
///
/// `labelled` is `type`, `group`, `template`, `policy`, `job` or `command`.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/labels/{labelled}/{name}",
    operation_id = "show_labels",
    tag = "devices",
    params(("tenant" = String, Path), ("labelled" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Labelled(kind)): At<Labelled>,
    At(Name(name)): At<Name>,
) -> Result<Json<View>, Problem> {
    let labels = labels(door.app(), &caller.ctx, &caller.tenant, kind, &name).await?;
    Ok(Json(View { labels }))
}
