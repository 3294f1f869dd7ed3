//! `GET /v1/tenants/{tenant}/artifacts`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::releases::artifacts;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::ArtifactView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List artifacts by hash
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/artifacts",
    operation_id = "list_artifacts",
    tag = "releases",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<ArtifactView>)),
    extensions(("x-permission" = json!("release:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let found = artifacts(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.sha256.to_string(), ArtifactView::new))
}
