//! `GET /v1/tenants/{tenant}/jobs/{job}/executions` and `GET /v1/tenants/{tenant}/devices/{device}/jobs`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::jobs::{device_job_executions, job_executions};
use fleetward_base::{DeviceId, JobId};
use fleetward_core::job::{Execution, Status};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::At;
use crate::problem::Problem;
use crate::view::JobExecutionView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// queued, in_progress, succeeded, failed, timed_out, rejected, removed or canceled
    #[param(value_type = Option<String>)]
    status: Option<Status>,
}

/// List what each device does at a job, by device and number
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/jobs/{job}/executions",
    operation_id = "list_job_executions",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path), Filter),
    responses((status = 200, body = Page<JobExecutionView>)),
    extensions(("x-permission" = json!("job:read"))),
)]
pub(super) async fn of_job(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<JobId>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, status) = (&caller.tenant, listing.filter.status);
    let after = listing.after(&door, Some(tenant))?.and_then(|key| parse(&key));
    let rows = listing.rows_and_one();
    let found = job_executions(door.app(), &caller.ctx, tenant, &id, status, after, rows).await?;
    let key = |row: &Execution| format!("{}/{}", row.device, row.number);
    Ok(listing.answer(&door, Some(tenant), found, key, JobExecutionView::from))
}

/// List what a device does and did at jobs, by job and number
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/jobs",
    operation_id = "list_device_jobs",
    tag = "jobs",
    params(("tenant" = String, Path), ("device" = String, Path), Filter),
    responses((status = 200, body = Page<JobExecutionView>)),
    extensions(("x-permission" = json!("job:read"))),
)]
pub(super) async fn of_device(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (tenant, status) = (&caller.tenant, listing.filter.status);
    let after = listing.after(&door, Some(tenant))?.and_then(|key| parse(&key));
    let rows = listing.rows_and_one();
    let found = device_job_executions(door.app(), &caller.ctx, tenant, &device, (status, None), after, rows).await?;
    let key = |row: &Execution| format!("{}/{}", row.job, row.number);
    Ok(listing.answer(&door, Some(tenant), found, key, JobExecutionView::from))
}

/// Names of devices and jobs hold no slash.
fn parse<T: std::str::FromStr>(key: &str) -> Option<(T, u64)> {
    let (name, number) = key.split_once('/')?;
    Some((name.parse().ok()?, number.parse().ok()?))
}
