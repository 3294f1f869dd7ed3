//! `GET /v1/tenants/{tenant}/enrollment-requests/{request}`

use axum::Json;
use axum::extract::State;
use fleetward_app::enrollment_requests::enrollment_request;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, RequestHandle};
use crate::problem::Problem;
use crate::view::EnrollmentRequestView;

/// Show a device that waits for approval
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/enrollment-requests/{request}",
    operation_id = "show_enrollment_request",
    tag = "enrolment",
    params(("tenant" = String, Path), ("request" = String, Path, description = "Its id, or the code that people type")),
    responses((status = 200, body = EnrollmentRequestView)),
    extensions(("x-permission" = json!("enrollment:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(handle): At<RequestHandle>,
) -> Result<Json<EnrollmentRequestView>, Problem> {
    let found = enrollment_request(door.app(), &caller.ctx, &caller.tenant, &handle.0).await?;
    Ok(Json(EnrollmentRequestView::new(found)))
}
