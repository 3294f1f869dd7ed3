//! `GET /v1/tenants/{tenant}/device-groups`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::device_groups::device_groups;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{DeviceGroupView, view};
use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// Those that lie right in this one
    parent: Option<String>,
}

/// List groups of devices, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/device-groups",
    operation_id = "list_device_groups",
    tag = "devices",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<DeviceGroupView>)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let parent = listing.filter.parent.clone();
    let found = device_groups(door.app(), &caller.ctx, &caller.tenant, parent, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.name.clone(), view))
}
