//! `GET /v1/tenants/{tenant}/device-search`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::search::search_devices;
use fleetward_base::DeviceId;
use fleetward_core::search::Query;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::DeviceView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// The question; every device where it is absent
    q: Option<String>,
}

/// Look for devices by a question
///
/// `site:berlin AND NOT tag:beta`. A page may hold less than was asked for and yet go on: a call looks at so many devices.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/device-search",
    operation_id = "search_devices",
    tag = "devices",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<DeviceView>)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let query = Query::parse(listing.filter.q.as_deref().unwrap_or("*"));
    let query = query.map_err(|error| Problem::invalid("q", error.to_string()))?;
    let after: Option<DeviceId> = listing.after_as(&door, Some(&caller.tenant))?;
    let found = search_devices(door.app(), &caller.ctx, &caller.tenant, &query, after, listing.rows()).await?;
    let next = found.next.map(|id| id.to_string());
    Ok(listing.answer_until(&door, Some(&caller.tenant), found.devices, next, DeviceView::new))
}
