//! `GET /v1/tenants/{tenant}/transparency/leaves`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::transparency::leaves;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::TransparencyLeafView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List the leaves of the log in its order
///
/// Whoever has them all can build the tree again and compare its root.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/transparency/leaves",
    operation_id = "list_transparency_leaves",
    tag = "transparency",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<TransparencyLeafView>)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let last: Option<u64> = listing.after_as(&door, Some(&caller.tenant))?;
    let from = last.map_or(0, |index| index.saturating_add(1));
    let found = leaves(door.app(), &caller.ctx, &caller.tenant, from, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.index.to_string(), TransparencyLeafView::from))
}
