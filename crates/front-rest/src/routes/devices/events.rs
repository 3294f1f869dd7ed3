//! `GET /v1/tenants/{tenant}/devices/{device}/events`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::journal::{JournalFilter, events};
use fleetward_app::registry::device;
use fleetward_base::DeviceId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::At;
use crate::problem::Problem;
use crate::routes::events::view;
use crate::view::EventView;

/// Every condition that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// The beginning of the action, e.g. `certificate.`
    action: Option<String>,
}

/// Show a device's time line, newest first
///
/// That of a removed device stays under `events?device=`.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/events",
    operation_id = "list_device_events",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path), Filter),
    responses((status = 200, body = Page<EventView>)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let filter =
        JournalFilter { device: Some(id.clone()), action: listing.filter.action.clone(), ..JournalFilter::default() };
    let before = listing.after_as(&door, Some(&caller.tenant))?;
    let found = events(door.app(), &caller.ctx, &caller.tenant, filter, before, listing.rows_and_one()).await?;
    device(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), view))
}
