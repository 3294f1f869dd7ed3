//! `GET /v1/tenants/{tenant}/attestation-references`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::attestation::references;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::AttestationReferenceView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List reference values, those of releases aside
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/attestation-references",
    operation_id = "list_attestation_references",
    tag = "attestation",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<AttestationReferenceView>)),
    extensions(("x-permission" = json!("attestation:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = references(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.clone(), AttestationReferenceView::new))
}
