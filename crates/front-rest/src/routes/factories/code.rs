//! `POST /v1/tenants/{tenant}/registration-codes`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::factories::create_registration_code;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::{RegistrationCodeView, Time};

/// Get a code that a factory's authority has to sign
///
/// The authority signs a certificate with the code as its common name: so it is shown that its key is at hand.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/registration-codes",
    operation_id = "create_registration_code",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    responses((status = 201, body = RegistrationCodeView)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
) -> Result<(StatusCode, Answer<RegistrationCodeView>), Problem> {
    let (code, expires_at) = create_registration_code(door.app(), &caller.ctx, &caller.tenant).await?;
    Ok((StatusCode::CREATED, Answer(RegistrationCodeView { code, expires_at: Time(expires_at) })))
}
