//! `GET /v1/tenants/{tenant}/revocations`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::revocation::revocations;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::RevocationView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List revocations, newest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/revocations",
    operation_id = "list_revocations",
    tag = "revocations",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<RevocationView>)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let before = listing.after_as(&door, Some(&caller.tenant))?;
    let found = revocations(door.app(), &caller.ctx, &caller.tenant, before, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), RevocationView::from))
}
