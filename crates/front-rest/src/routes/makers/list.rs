//! `GET /v1/tenants/{tenant}/makers`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::inventory::makers::makers;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::MakerView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List makers, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/makers",
    operation_id = "list_makers",
    tag = "enrolment",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<MakerView>)),
    extensions(("x-permission" = json!("inventory:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = makers(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.name.clone(), MakerView::new))
}
