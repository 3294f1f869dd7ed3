//! `GET /v1/tenants/{tenant}/factory-certificates`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::provisioning::jit::arrived;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::FactoryCertificateView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    waiting: Option<bool>,
}

/// List the certificates of factories that came to a door
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/factory-certificates",
    operation_id = "list_factory_certificates",
    tag = "provisioning",
    params(("tenant" = String, Path),
        ("waiting" = Option<bool>, Query, description = "Only those that wait to be claimed")),
    responses((status = 200, body = Page<FactoryCertificateView>)),
    extensions(("x-permission" = json!("provisioning:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let waiting = listing.filter.waiting.unwrap_or(false);
    let found = arrived(door.app(), &caller.ctx, &caller.tenant, waiting, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.clone(), FactoryCertificateView::from))
}
