//! `GET /v1/tenants/{tenant}/devices`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::registry::{DeviceFilter, devices};
use fleetward_base::DeviceId;
use fleetward_core::lifecycle::Status;
use fleetward_core::registry::Class;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::DeviceView;

/// Every condition that is given must hold.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// manufactured, claimed, active, quarantined, suspended, lost or decommissioned
    #[param(value_type = Option<String>)]
    status: Option<Status>,
    /// online or offline
    #[param(value_type = Option<String>)]
    presence: Option<Presence>,
    /// sensor, gateway or endpoint
    #[param(value_type = Option<String>)]
    class: Option<Class>,
    hardware: Option<String>,
    firmware: Option<String>,
    environment: Option<String>,
    site: Option<String>,
    tag: Option<String>,
    /// Names that begin so
    prefix: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Presence {
    Online,
    Offline,
}

/// List devices by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices",
    operation_id = "list_devices",
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
    let filter = DeviceFilter {
        status: listing.filter.status.map(|status| status.to_string()),
        online: listing.filter.presence.as_ref().map(|presence| matches!(presence, Presence::Online)),
        hardware: listing.filter.hardware.clone(),
        firmware: listing.filter.firmware.clone(),
        class: listing.filter.class.map(|class| class.to_string()),
        environment: listing.filter.environment.clone(),
        site: listing.filter.site.clone(),
        tags: listing.filter.tag.clone().into_iter().collect(),
        prefix: listing.filter.prefix.clone(),
    };
    let after: Option<DeviceId> = listing.after_as(&door, Some(&caller.tenant))?;
    let found = devices(door.app(), &caller.ctx, &caller.tenant, filter, after, listing.rows_and_one()).await?;
    let view = DeviceView::new;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.device.id.to_string(), view))
}
