//! `GET /v1/tenants/{tenant}/devices/{device}/commands`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::commands::{CommandSummary, device_commands};
use fleetward_base::DeviceId;
use fleetward_core::command::Status;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::At;
use crate::problem::Problem;
use crate::view::CommandView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// queued, sent, running, succeeded, failed, rejected, timed_out, expired, canceled or superseded
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

/// List the commands of a device, the newest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/commands",
    operation_id = "list_device_commands",
    tag = "commands",
    params(("tenant" = String, Path), ("device" = String, Path), Filter),
    responses((status = 200, body = Page<CommandView>)),
    extensions(("x-permission" = json!("command:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let before = listing.after_as(&door, Some(&caller.tenant))?;
    let (status, rows) = (listing.filter.status, listing.rows_and_one());
    let found = device_commands(door.app(), &caller.ctx, &caller.tenant, &device, status, before, rows).await?;
    let key = |row: &CommandSummary| row.command.seq.to_string();
    Ok(listing.answer(&door, Some(&caller.tenant), found, key, CommandView::of_summary))
}
