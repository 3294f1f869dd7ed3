//! `GET /v1/tenants/{tenant}/command-templates`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::commands::templates::command_templates;
use serde::Deserialize;

use super::View;
use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List commands that are written down, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/command-templates",
    operation_id = "list_command_templates",
    tag = "commands",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<View>)),
    extensions(("x-permission" = json!("command:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = command_templates(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.name.clone(), View::from))
}
