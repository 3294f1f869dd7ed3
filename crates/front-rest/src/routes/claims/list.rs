//! `GET /v1/tenants/{tenant}/claims`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::provisioning::claims::claims;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::ClaimView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List claims, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/claims",
    operation_id = "list_claims",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<ClaimView>)),
    extensions(("x-permission" = json!("provisioning:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = claims(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    let now = door.app().now();
    let view = |row| ClaimView::new(row, now);
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.name.clone(), view))
}
