//! `GET /v1/tenants/{tenant}/devices/{device}/pending-jobs`, `POST .../start-next`, and
//! `POST /v1/tenants/{tenant}/jobs/{job}/executions/{device}/report`

use std::collections::BTreeMap;

use axum::Json as Shown;
use axum::extract::State;
use fleetward_app::jobs::{pending_of, report_for, start_next_of};
use fleetward_base::{DeviceId, JobId};
use fleetward_core::job::Status;
use fleetward_core::job::execution::{Report, StepTimeout};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::JobExecutionView;

/// What jobs have pending for a device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PendingJobs)]
pub(super) struct Pending {
    /// In the order in which the device gets them.
    items: Vec<JobExecutionView>,
}

/// Show what jobs have pending for a device
///
/// In the order in which it gets them, as many as it is shown. What waits for its window is not there.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/pending-jobs",
    operation_id = "show_pending_jobs",
    tag = "jobs",
    params(("tenant" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = Pending)),
    extensions(("x-permission" = json!("job:read"))),
)]
pub(super) async fn pending(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
) -> Result<Shown<Pending>, Problem> {
    let found = pending_of(door.app(), &caller.ctx, &caller.tenant, &device).await?;
    Ok(Shown(Pending { items: found.into_iter().map(JobExecutionView::from).collect() }))
}

/// How the next job of a device is begun.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartNextJob, example = json!({ "detail": { "by": "hand" } }))]
pub(super) struct Start {
    /// Put in place of what was said before.
    detail: Option<BTreeMap<String, String>>,
    /// 1 to 10,080, or -1 for no limit.
    step_timeout_minutes: Option<i64>,
}

/// What was begun.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StartedJob)]
pub(super) struct Started {
    /// Absent where nothing is pending.
    execution: Option<JobExecutionView>,
    /// What is to be done, as it was given.
    #[schema(value_type = Option<Object>)]
    document: Option<Box<RawValue>>,
}

/// Begin the next job of a device, in its place
///
/// What is in progress already is given again. The journal says who began it.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/pending-jobs/start-next",
    operation_id = "start_next_job",
    tag = "jobs",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Start,
    responses((status = 200, body = Started)),
    extensions(("x-permission" = json!("job:report"))),
)]
pub(super) async fn start_next(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    body: Json<Start>,
) -> Result<Shown<Started>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Start { detail, step_timeout_minutes } = body.value;
    let how = (detail, step_timeout(step_timeout_minutes)?);
    let Some(task) = start_next_of(door.app(), &ctx, &tenant, &device, how).await? else {
        return Ok(Shown(Started { execution: None, document: None }));
    };
    let document = RawValue::from_string(task.document).map_err(|_| Problem::internal())?;
    Ok(Shown(Started { execution: Some(task.execution.into()), document: Some(document) }))
}

/// What is said of an execution in its device's place.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReportJobExecution, example = json!({ "status": "succeeded", "detail": { "by": "hand" } }))]
pub(super) struct Body {
    /// in_progress, succeeded, failed or rejected
    #[schema(value_type = String)]
    status: Status,
    /// Which try; the last where it is absent.
    number: Option<u64>,
    expected_version: Option<u64>,
    /// Put in place of what was said before.
    detail: Option<BTreeMap<String, String>>,
    /// 1 to 10,080, or -1 for no limit.
    step_timeout_minutes: Option<i64>,
}

/// Say what became of a job, in its device's place
///
/// The rules are those for the device; the journal says who said so.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/jobs/{job}/executions/{device}/report",
    operation_id = "report_job_execution",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = JobExecutionView)),
    extensions(("x-permission" = json!("job:report"))),
)]
pub(super) async fn report(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<JobId>,
    At(device): At<DeviceId>,
    body: Json<Body>,
) -> Result<Shown<JobExecutionView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { status, number, expected_version, detail, step_timeout_minutes } = body.value;
    let report = Report { status, detail, expected_version, step_timeout: step_timeout(step_timeout_minutes)? };
    let after = report_for(door.app(), &ctx, &tenant, &device, (&id, number), report).await?;
    Ok(Shown(after.into()))
}

fn step_timeout(minutes: Option<i64>) -> Result<Option<StepTimeout>, Problem> {
    let read = minutes.map(StepTimeout::of_minutes).transpose();
    read.map_err(|refused| Problem::invalid("step_timeout_minutes", refused.to_string()))
}
