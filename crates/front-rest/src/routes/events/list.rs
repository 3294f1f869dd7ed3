//! `GET /v1/tenants/{tenant}/events`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::journal::{JournalFilter, events};
use fleetward_base::DeviceId;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::EventView;

/// Every condition that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    #[param(value_type = Option<String>)]
    device: Option<DeviceId>,
    /// The beginning of the action, e.g. `rollout.`
    action: Option<String>,
    /// What else it is about, by id
    subject: Option<String>,
    /// info, notice, warning or critical
    severity: Option<String>,
}

/// List what happened, newest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/events",
    operation_id = "list_events",
    tag = "events",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<EventView>)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let filter = JournalFilter {
        device: listing.filter.device.clone(),
        action: listing.filter.action.clone(),
        subject: listing.filter.subject.clone(),
        severity: listing.filter.severity.clone(),
        ..JournalFilter::default()
    };
    let before = listing.after_as(&door, Some(&caller.tenant))?;
    let found = events(door.app(), &caller.ctx, &caller.tenant, filter, before, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), super::view))
}
