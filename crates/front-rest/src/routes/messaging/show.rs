//! `GET /v1/tenants/{tenant}/messaging`

use axum::extract::State;
use fleetward_app::messaging::show_messaging;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::MessagingView;

/// Show what holds for the messaging of a tenant
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/messaging",
    operation_id = "show_messaging",
    tag = "tenants",
    params(("tenant" = String, Path)),
    responses((status = 200, body = MessagingView)),
    extensions(("x-permission" = json!("tenant:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Tagged<MessagingView>, Problem> {
    Ok(super::view(show_messaging(door.app(), &caller.ctx, &caller.tenant).await?))
}
