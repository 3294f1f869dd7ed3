//! `GET /v1/whoami`

use axum::Json;
use fleetward_app::Principal;
use fleetward_core::access::{Permission, allows};

use crate::caller::Caller;
use crate::problem::Problem;
use crate::view::WhoAmIView;

/// Show who the bearer is
#[utoipa::path(
    get,
    path = "/v1/whoami",
    operation_id = "whoami",
    tag = "access",
    responses((status = 200, body = WhoAmIView)),
    extensions(("x-permission" = json!("any"))),
)]
pub(super) async fn handler(caller: Caller) -> Result<Json<WhoAmIView>, Problem> {
    let Principal::Operator { token, name, role, tenant } = caller.ctx.principal else {
        return Err(Problem::unauthenticated());
    };
    let permissions = Permission::ALL.iter().filter(|permission| allows(role, **permission));
    Ok(Json(WhoAmIView {
        id: token.to_string(),
        name,
        role: role.as_str(),
        tenant: tenant.map(|tenant| tenant.to_string()),
        permissions: permissions.map(|permission| permission.as_str()).collect(),
    }))
}
