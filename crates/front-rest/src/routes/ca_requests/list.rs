//! `GET /v1/ca-requests`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::offline_root::requests;

use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::CaRequestView;

/// List what the offline root is asked to sign
///
/// Two at the first start, four while one root follows another.
#[utoipa::path(
    get,
    path = "/v1/ca-requests",
    operation_id = "list_ca_requests",
    tag = "tenants",
    responses((status = 200, body = Vec<CaRequestView>)),
    extensions(("x-permission" = json!("ca:root"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: Caller) -> Result<Answer<Vec<CaRequestView>>, Problem> {
    let found = requests(door.app(), &caller.ctx).await?;
    Ok(Answer(found.into_iter().map(CaRequestView::from).collect()))
}
