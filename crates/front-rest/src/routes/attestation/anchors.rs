//! `GET /v1/tenants/{tenant}/attestation-anchors`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::attestation::anchors;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::AttestationAnchorView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List what vouches for evidence
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/attestation-anchors",
    operation_id = "list_attestation_anchors",
    tag = "attestation",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<AttestationAnchorView>)),
    extensions(("x-permission" = json!("attestation:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = anchors(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.clone(), AttestationAnchorView::new))
}
