//! `POST /v1/tenants/{tenant}/device-types/{name}/deprecate`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::device_types::deprecate_device_type;

use super::{Deprecation, DeviceTypeView, view};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Have no device become one of a type any more, or again
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/device-types/{name}/deprecate",
    operation_id = "deprecate_device_type",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    request_body(content = Deprecation),
    responses((status = 200, body = DeviceTypeView)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    body: Json<Deprecation>,
) -> Result<Answer<DeviceTypeView>, Problem> {
    let deprecated = body.value.deprecated;
    let after = deprecate_device_type(door.app(), &caller.ctx, &caller.tenant, &name, deprecated).await?;
    Ok(Answer(view(after)))
}
