//! `GET /v1/tenants/{tenant}/releases`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::releases::releases;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::ReleaseView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    name: Option<String>,
}

/// List releases, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/releases",
    operation_id = "list_releases",
    tag = "releases",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<ReleaseView>)),
    extensions(("x-permission" = json!("release:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, name) = (&caller.tenant, listing.filter.name.clone());
    let after = listing.after_as(&door, Some(tenant))?;
    let found = releases(door.app(), &caller.ctx, tenant, name, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(tenant), found, |row| row.release.id.to_string(), ReleaseView::new))
}
