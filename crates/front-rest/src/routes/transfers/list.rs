//! `GET /v1/tenants/{tenant}/transfers`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::transfers::transfers;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::TransferView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List devices that the tenant offered to others, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/transfers",
    operation_id = "list_transfers",
    tag = "devices",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<TransferView>)),
    extensions(("x-permission" = json!("device:transfer"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let found = transfers(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    let now = door.app().now();
    let view = |row| TransferView::new(row, now);
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), view))
}
