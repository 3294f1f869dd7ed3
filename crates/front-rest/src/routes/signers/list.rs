//! `GET /v1/tenants/{tenant}/signers`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::releases::signers;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::SignerView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List signers, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/signers",
    operation_id = "list_signers",
    tag = "releases",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<SignerView>)),
    extensions(("x-permission" = json!("signer:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let found = signers(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), SignerView::new))
}
