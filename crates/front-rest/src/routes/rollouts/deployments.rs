//! `GET /v1/tenants/{tenant}/rollouts/{rollout}/deployments`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::rollouts::deployments;
use fleetward_base::{DeviceId, RolloutId};
use fleetward_core::deployment::{Deployment, Kind, Status};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::At;
use crate::problem::Problem;
use crate::view::DeploymentView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// queued, in_progress, succeeded, failed, rejected, timed_out or canceled
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

/// List what each device does in a rollout, by device
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/rollouts/{rollout}/deployments",
    operation_id = "list_deployments",
    tag = "rollouts",
    params(("tenant" = String, Path), ("rollout" = String, Path), Filter),
    responses((status = 200, body = Page<DeploymentView>)),
    extensions(("x-permission" = json!("rollout:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<RolloutId>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, status) = (&caller.tenant, listing.filter.status);
    let after = listing.after(&door, Some(tenant))?.and_then(|key| parse(&key));
    let rows = listing.rows_and_one();
    let found = deployments(door.app(), &caller.ctx, tenant, id, status, after, rows).await?;
    Ok(listing.answer(&door, Some(tenant), found, key, DeploymentView::new))
}

/// A device has one deployment of each kind in a rollout. Names of devices hold no slash.
fn key(row: &Deployment) -> String {
    format!("{}/{}", row.device, row.kind)
}

fn parse(key: &str) -> Option<(DeviceId, Kind)> {
    let (device, kind) = key.split_once('/')?;
    Some((device.parse().ok()?, kind.parse().ok()?))
}
