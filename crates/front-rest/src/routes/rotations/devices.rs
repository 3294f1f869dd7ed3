//! `GET /v1/tenants/{tenant}/rotations/{rotation}/devices`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::rotation::rotation_devices;
use fleetward_core::rotation::campaign::Status;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::{At, RotationId};
use crate::problem::Problem;
use crate::view::RotationDeviceView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// waiting, asked, renewed, failed or canceled
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

/// List how each device stands in a rotation, by device
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/rotations/{rotation}/devices",
    operation_id = "list_rotation_devices",
    tag = "rotations",
    params(("tenant" = String, Path), ("rotation" = String, Path), Filter),
    responses((status = 200, body = Page<RotationDeviceView>)),
    extensions(("x-permission" = json!("rotation:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(RotationId(id)): At<RotationId>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, status) = (&caller.tenant, listing.filter.status);
    let after = listing.after(&door, Some(tenant))?.and_then(|key| key.parse().ok());
    let rows = listing.rows_and_one();
    let found = rotation_devices(door.app(), &caller.ctx, tenant, id, status, after, rows).await?;
    Ok(listing.answer(&door, Some(tenant), found, |row| row.device.to_string(), RotationDeviceView::new))
}
