//! `GET /v1/tenants/{tenant}/enrollment-keys/{holder}/{name}`

use axum::Json;
use axum::extract::State;
use fleetward_app::enrollment_keys::{Kind, enrollment};

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, EnrollmentName};
use crate::problem::Problem;
use crate::view::EnrollmentKeyView;

/// Show an enrolment by symmetric key, without its keys
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/enrollment-keys/{holder}/{name}",
    operation_id = "show_enrollment_key",
    tag = "enrolment",
    params(("tenant" = String, Path), ("holder" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = EnrollmentKeyView)),
    extensions(("x-permission" = json!("enrollment-key:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(kind): At<Kind>,
    At(name): At<EnrollmentName>,
) -> Result<Json<EnrollmentKeyView>, Problem> {
    let found = enrollment(door.app(), &caller.ctx, &caller.tenant, kind, &name.0).await?;
    Ok(Json(EnrollmentKeyView::new(found)))
}
