//! `POST /v1/tenants/{tenant}/device-types`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::device_types::create_device_type;
use http::StatusCode;

use super::{Body, DeviceTypeView, view};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;

/// Write down a type of devices
///
/// The same again is harmless.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/device-types",
    operation_id = "create_device_type",
    tag = "devices",
    params(("tenant" = String, Path)),
    request_body(content = Body),
    responses((status = 201, body = DeviceTypeView)),
    extensions(("x-permission" = json!("device:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<DeviceTypeView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, description, searchable } = body.value;
    let made = create_device_type(door.app(), &ctx, &tenant, &name, description, searchable).await?;
    Ok((StatusCode::CREATED, Answer(view(made))))
}
