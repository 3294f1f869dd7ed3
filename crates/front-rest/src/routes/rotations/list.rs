//! `GET /v1/tenants/{tenant}/rotations`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::rotation::rotations;
use fleetward_core::rollout;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::RotationView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// running, paused, canceled or finished
    #[param(value_type = Option<String>)]
    state: Option<rollout::State>,
}

/// List rotations, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/rotations",
    operation_id = "list_rotations",
    tag = "rotations",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<RotationView>)),
    extensions(("x-permission" = json!("rotation:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, state) = (&caller.tenant, listing.filter.state);
    let after = listing.after_as(&door, Some(tenant))?;
    let found = rotations(door.app(), &caller.ctx, tenant, state, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(tenant), found, |row| row.campaign.id.to_string(), RotationView::new))
}
