//! `GET /v1/tenants/{tenant}/id-scope`

use axum::Json;
use axum::extract::State;
use fleetward_app::enrollment_keys::id_scope;

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::IdScopeView;

/// Show by which name devices without a credential address the tenant
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/id-scope",
    operation_id = "show_id_scope",
    tag = "enrolment",
    params(("tenant" = String, Path)),
    responses((status = 200, body = IdScopeView)),
    extensions(("x-permission" = json!("enrollment-key:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Json<IdScopeView>, Problem> {
    Ok(Json(IdScopeView { id_scope: id_scope(door.app(), &caller.ctx, &caller.tenant).await? }))
}
