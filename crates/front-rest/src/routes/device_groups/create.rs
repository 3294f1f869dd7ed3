//! `POST /v1/tenants/{tenant}/device-groups`

use axum::extract::State;
use fleetward_app::device_groups::{GroupFields, create_device_group};

use super::{Body, DeviceGroupView, view};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;

/// Write down a group of devices
///
/// The same again is harmless. A device with its name as a tag is in it at once; with a `query` the server gives the tag to
/// whom it meets and takes it from the others, a moment after they change.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/device-groups",
    operation_id = "create_device_group",
    tag = "devices",
    params(("tenant" = String, Path)),
    request_body(content = Body),
    responses((status = 201, body = DeviceGroupView)),
    extensions(("x-permission" = json!("device:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<DeviceGroupView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, parent, description, attributes, query } = body.value;
    let fields = GroupFields { description, attributes, query };
    let made = create_device_group(door.app(), &ctx, &tenant, &name, parent, fields).await?;
    Ok(Tagged::created(made.revision, view(made)))
}
