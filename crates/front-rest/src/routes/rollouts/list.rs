//! `GET /v1/tenants/{tenant}/rollouts`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::rollouts::rollouts;
use fleetward_core::rollout;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::RolloutView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// running, paused, rolling_back, rolled_back, canceled or finished
    #[param(value_type = Option<String>)]
    state: Option<rollout::State>,
}

/// List rollouts, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/rollouts",
    operation_id = "list_rollouts",
    tag = "rollouts",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<RolloutView>)),
    extensions(("x-permission" = json!("rollout:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, state) = (&caller.tenant, listing.filter.state);
    let after = listing.after_as(&door, Some(tenant))?;
    let found = rollouts(door.app(), &caller.ctx, tenant, state, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(tenant), found, |row| row.rollout.id.to_string(), RolloutView::new))
}
