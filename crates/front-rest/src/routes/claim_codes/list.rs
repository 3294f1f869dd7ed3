//! `GET /v1/tenants/{tenant}/claim-codes`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::provisioning::codes::claim_codes;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::ClaimCodeView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List claim codes, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/claim-codes",
    operation_id = "list_claim_codes",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<ClaimCodeView>)),
    extensions(("x-permission" = json!("provisioning:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let found = claim_codes(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    let now = door.app().now();
    let view = |row| ClaimCodeView::new(row, now);
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), view))
}
