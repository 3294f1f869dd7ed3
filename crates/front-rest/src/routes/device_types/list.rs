//! `GET /v1/tenants/{tenant}/device-types`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::device_types::device_types;

use super::{DeviceTypeView, view};
use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::routes::api_tokens::NoFilter;

/// List types of devices, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/device-types",
    operation_id = "list_device_types",
    tag = "devices",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<DeviceTypeView>)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<NoFilter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = device_types(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.name.clone(), view))
}
