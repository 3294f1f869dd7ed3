//! `GET /v1/tenants/{tenant}/jobs`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::jobs::jobs;
use fleetward_core::job::{self, Selection};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::JobView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// scheduled, in_progress, canceled, completed or deletion_in_progress
    #[param(value_type = Option<String>)]
    status: Option<job::State>,
    /// snapshot or continuous
    #[param(value_type = Option<String>)]
    selection: Option<Selection>,
}

/// List jobs, by id
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/jobs",
    operation_id = "list_jobs",
    tag = "jobs",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<JobView>)),
    extensions(("x-permission" = json!("job:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, filter) = (&caller.tenant, (listing.filter.status, listing.filter.selection));
    let after = listing.after_as(&door, Some(tenant))?;
    let found = jobs(door.app(), &caller.ctx, tenant, filter, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(tenant), found, |row| row.id.to_string(), JobView::from))
}
