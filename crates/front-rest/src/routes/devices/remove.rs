//! `DELETE /v1/tenants/{tenant}/devices/{device}`

use axum::extract::State;
use fleetward_app::registry::{device, remove_device};
use fleetward_base::DeviceId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::IfMatch;
use crate::path::At;
use crate::problem::Problem;

/// Remove a decommissioned device
///
/// Its state, sessions and certificates go; its history stays.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/devices/{device}",
    operation_id = "remove_device",
    tag = "devices",
    params(
        ("tenant" = String, Path),
        ("device" = String, Path),
        ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`"),
    ),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:decommission"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    InTenant { ctx, tenant, .. }: InTenant,
    At(id): At<DeviceId>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let current = async { device(door.app(), &ctx, &tenant, &id).await.map(|found| found.device.revision) };
    let expected = if_match.revision(current).await?;
    remove_device(door.app(), &ctx, &tenant, &id, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
