//! `GET` and `DELETE /v1/tenants/{tenant}/jobs/{job}/executions/{device}`, and `POST .../cancel`

use std::collections::BTreeMap;

use axum::Json as Shown;
use axum::extract::State;
use fleetward_app::jobs::{CancelExecution, cancel_job_execution, delete_job_execution, job_execution};
use fleetward_base::{DeviceId, JobId};
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Query;
use crate::path::At;
use crate::problem::Problem;
use crate::view::JobExecutionView;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Which try; the last where it is absent
    number: Option<u64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Gone {
    /// Which try; the last where it is absent
    number: Option<u64>,
    /// Also one that is in progress
    #[serde(default)]
    force: bool,
}

/// Show what one device does at a job
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/jobs/{job}/executions/{device}",
    operation_id = "show_job_execution",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path), ("device" = String, Path), Which),
    responses((status = 200, body = JobExecutionView)),
    extensions(("x-permission" = json!("job:read"))),
)]
pub(super) async fn show(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<JobId>,
    At(device): At<DeviceId>,
    Query(which): Query<Which>,
) -> Result<Shown<JobExecutionView>, Problem> {
    let found = job_execution(door.app(), &caller.ctx, &caller.tenant, &id, &device, which.number).await?;
    Ok(Shown(found.into()))
}

/// Delete what one device did at a job
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/jobs/{job}/executions/{device}",
    operation_id = "delete_job_execution",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path), ("device" = String, Path), Gone),
    responses((status = 204)),
    extensions(("x-permission" = json!("job:control"))),
)]
pub(super) async fn delete(
    State(door): State<Door>,
    InTenant { ctx, tenant, .. }: InTenant,
    At(id): At<JobId>,
    At(device): At<DeviceId>,
    Query(gone): Query<Gone>,
) -> Result<StatusCode, Problem> {
    delete_job_execution(door.app(), &ctx, &tenant, &id, &device, gone.number, gone.force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How one device's work is canceled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CancelJobExecution, example = json!({ "force": true }))]
pub(super) struct Body {
    /// Also where it is in progress.
    #[serde(default)]
    force: bool,
    expected_version: Option<u64>,
    /// Put in place of what the device said.
    detail: Option<BTreeMap<String, String>>,
}

/// Cancel what one device is to do at a job
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/jobs/{job}/executions/{device}/cancel",
    operation_id = "cancel_job_execution",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = JobExecutionView)),
    extensions(("x-permission" = json!("job:control"))),
)]
pub(super) async fn cancel(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<JobId>,
    At(device): At<DeviceId>,
    body: Json<Body>,
) -> Result<Shown<JobExecutionView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { force, expected_version, detail } = body.value;
    let asked = CancelExecution { force, expected_version, detail };
    let after = cancel_job_execution(door.app(), &ctx, &tenant, &id, &device, asked).await?;
    Ok(Shown(after.into()))
}
