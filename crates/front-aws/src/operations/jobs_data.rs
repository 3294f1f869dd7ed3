//! Executions of jobs in the words of the jobs data plane: an operator acts in a thing's place. A device with its certificate
//! reaches the same by `front-rest`, where its deployments are in the same queue.

use std::collections::BTreeMap;

use fleetward_app::jobs::{Task, job_document, job_execution, next_of, pending_of, report_for, start_next_of};
use fleetward_core::job::execution::{Report, StepTimeout};
use fleetward_core::job::{Execution, Status};
use fleetward_wire::aws::topic::NEXT;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::jobs::job_id;
use super::jobs::shapes::word;
use crate::answer::{Answer, Refusal};
use crate::call::Call;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    status: Option<String>,
    status_details: Option<BTreeMap<String, String>>,
    step_timeout_in_minutes: Option<i64>,
    expected_version: Option<u64>,
    include_job_execution_state: bool,
    include_job_document: bool,
    execution_number: Option<u64>,
}

impl Body {
    fn step_timeout(&self) -> Result<Option<StepTimeout>, Refusal> {
        let read = self.step_timeout_in_minutes.map(StepTimeout::of_minutes).transpose();
        read.map_err(|refused| Refusal::invalid(format!("stepTimeoutInMinutes: {refused}")))
    }
}

pub(super) async fn pending(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = pending_of(call.app(), &call.ctx, &call.tenant, &call.thing()?).await?;
    let of = |status| found.iter().filter(|one| one.status == status).map(summary).collect::<Vec<_>>();
    Ok(Answer::Json(json!({ "inProgressJobs": of(Status::InProgress), "queuedJobs": of(Status::Queued) })))
}

pub(super) async fn start_next(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let step_timeout = body.step_timeout()?;
    let how = (body.status_details, step_timeout);
    let next = start_next_of(call.app(), &call.ctx, &call.tenant, &call.thing()?, how).await?;
    Ok(shown(call, next, true))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (app, ctx, tenant, thing) = (call.app(), &call.ctx, &call.tenant, call.thing()?);
    let with_document = call.flag("includeJobDocument")?.unwrap_or(false);
    if call.path("jobId") == NEXT {
        return Ok(shown(call, next_of(app, ctx, tenant, &thing).await?, with_document));
    }
    let id = job_id(call.path("jobId"))?;
    let execution = job_execution(app, ctx, tenant, &id, &thing, call.number("executionNumber")?).await?;
    if execution.status.is_terminal() {
        let message = "The job execution is at its end";
        return Err(Refusal::new(StatusCode::GONE, "TerminalStateException", message));
    }
    let document = if with_document { job_document(app, ctx, tenant, &id).await? } else { String::new() };
    Ok(shown(call, Some(Task { execution, document }), with_document))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, body) = (job_id(call.path("jobId"))?, call.body::<Body>()?);
    let (app, ctx, tenant, thing) = (call.app(), &call.ctx, &call.tenant, call.thing()?);
    let status = body.status.as_deref().ok_or_else(|| Refusal::invalid("status is missing"))?;
    let report = Report {
        status: word(status, "status")?,
        step_timeout: body.step_timeout()?,
        detail: body.status_details,
        expected_version: body.expected_version,
    };
    let after = report_for(app, ctx, tenant, &thing, (&id, body.execution_number), report).await?;
    let mut view = json!({});
    if let Some(fields) = view.as_object_mut() {
        if body.include_job_execution_state {
            let state = json!({
                "status": after.status.as_str().to_ascii_uppercase(),
                "statusDetails": after.detail,
                "versionNumber": after.version,
            });
            fields.insert("executionState".to_owned(), state);
        }
        if body.include_job_document {
            fields.insert("jobDocument".to_owned(), json!(job_document(app, ctx, tenant, &id).await?));
        }
    }
    Ok(Answer::Json(view))
}

fn summary(execution: &Execution) -> Value {
    let mut view = json!({
        "jobId": execution.job.as_str(),
        "queuedAt": execution.queued_at.secs(),
        "lastUpdatedAt": execution.updated_at.secs(),
        "versionNumber": execution.version,
        "executionNumber": execution.number,
    });
    if let (Some(at), Some(fields)) = (execution.started_at, view.as_object_mut()) {
        fields.insert("startedAt".to_owned(), json!(at.secs()));
    }
    view
}

fn shown(call: &Call<'_>, task: Option<Task>, with_document: bool) -> Answer {
    let Some(Task { execution, document }) = task else { return Answer::Json(json!({})) };
    let mut view = summary(&execution);
    if let Some(fields) = view.as_object_mut() {
        fields.insert("thingName".to_owned(), json!(execution.device.as_str()));
        fields.insert("status".to_owned(), json!(execution.status.as_str().to_ascii_uppercase()));
        fields.insert("statusDetails".to_owned(), json!(execution.detail));
        if let Some(due) = execution.due_at() {
            let left = due.since(call.app().now()).as_secs();
            fields.insert("approximateSecondsBeforeTimedOut".to_owned(), json!(left));
        }
        if with_document {
            fields.insert("jobDocument".to_owned(), json!(document));
        }
    }
    Answer::Json(json!({ "execution": view }))
}
