//! `GET /v1/tenants/{tenant}/commands`

use std::str::FromStr;

use axum::extract::State;
use axum::response::Response;
use fleetward_app::commands::{CommandFilter, CommandSummary, commands};
use fleetward_base::{CommandId, DeviceId};
use fleetward_core::command::Status;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::CommandView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// One command on all its devices
    #[param(value_type = Option<String>)]
    id: Option<CommandId>,
    /// queued, sent, running, succeeded, failed, rejected, timed_out, expired, canceled or superseded
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

/// The last row of a page.
struct Last(CommandId, DeviceId);

impl FromStr for Last {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (id, device) = text.split_once('/').ok_or(())?;
        Ok(Self(id.parse().map_err(drop)?, device.parse().map_err(drop)?))
    }
}

/// List commands, by id and device
///
/// Ids that the server made are in the order of time.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/commands",
    operation_id = "list_commands",
    tag = "commands",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<CommandView>)),
    extensions(("x-permission" = json!("command:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after: Option<Last> = listing.after_as(&door, Some(&caller.tenant))?;
    let after = after.map(|Last(id, device)| (id, device));
    let status = listing.filter.status.map(|status| status.to_string());
    let filter = CommandFilter { id: listing.filter.id.clone(), status, ..CommandFilter::default() };
    let found = commands(door.app(), &caller.ctx, &caller.tenant, filter, after, listing.rows_and_one()).await?;
    let key = |row: &CommandSummary| format!("{}/{}", row.command.id, row.command.device);
    Ok(listing.answer(&door, Some(&caller.tenant), found, key, CommandView::of_summary))
}
