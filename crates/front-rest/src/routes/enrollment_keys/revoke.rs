//! `DELETE /v1/tenants/{tenant}/enrollment-keys/{holder}/{name}`

use axum::extract::State;
use fleetward_app::enrollment_keys::{Kind, revoke_enrollment};
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, EnrollmentName};
use crate::problem::Problem;

/// Take the keys of an enrolment back
///
/// Devices that enrolled with them keep their certificates. Asking twice is harmless, so no `If-Match` is asked for.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/enrollment-keys/{holder}/{name}",
    operation_id = "revoke_enrollment_key",
    tag = "enrolment",
    params(("tenant" = String, Path), ("holder" = String, Path), ("name" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("enrollment-key:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(kind): At<Kind>,
    At(name): At<EnrollmentName>,
) -> Result<StatusCode, Problem> {
    revoke_enrollment(door.app(), &caller.ctx, &caller.tenant, kind, &name.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
