//! `GET /v1/tenants`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::tenants::tenants;
use serde::Deserialize;

use crate::caller::Caller;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::TenantView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List the tenants that the bearer may see, by name
///
/// A token of a tenant sees its own.
#[utoipa::path(
    get,
    path = "/v1/tenants",
    operation_id = "list_tenants",
    tag = "tenants",
    responses((status = 200, body = Page<TenantView>)),
    extensions(("x-permission" = json!("tenant:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: Caller,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, None)?;
    let found = tenants(door.app(), &caller.ctx, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, None, found, |row| row.id.to_string(), super::view))
}
