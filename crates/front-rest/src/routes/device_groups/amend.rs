//! `PATCH /v1/tenants/{tenant}/device-groups/{name}`

use axum::extract::State;
use fleetward_app::device_groups::{GroupFields, amend_device_group, device_group};

use super::{Amendment, DeviceGroupView, tagged};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::path::{At, Name};
use crate::problem::Problem;

/// Say something else of a group of devices
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/device-groups/{name}",
    operation_id = "amend_device_group",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body(content = Amendment),
    responses((status = 200, body = DeviceGroupView)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    if_match: IfMatch,
    body: Json<Amendment>,
) -> Result<Tagged<DeviceGroupView>, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let current = async { device_group(door.app(), ctx, tenant, &name).await.map(|(found, _)| found.revision) };
    let expected = if_match.revision(current).await?;
    let Amendment { description, attributes, query } = body.value;
    let fields = GroupFields { description, attributes, query };
    Ok(tagged(amend_device_group(door.app(), ctx, tenant, &name, Some(expected), fields).await?))
}
