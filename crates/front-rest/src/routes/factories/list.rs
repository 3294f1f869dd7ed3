//! `GET /v1/tenants/{tenant}/factories`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::provisioning::factories::factories;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::FactoryView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List the authorities of factories
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/factories",
    operation_id = "list_factories",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<FactoryView>)),
    extensions(("x-permission" = json!("provisioning:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = factories(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.clone(), FactoryView::from))
}
