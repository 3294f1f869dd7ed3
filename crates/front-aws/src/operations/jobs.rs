//! Jobs, as operators make and look after them.

pub(super) mod shapes;

use std::collections::BTreeMap;

use fleetward_app::jobs::{
    CancelExecution, JobChange, JobView, NewJob, cancel_job, cancel_job_execution, create_job, delete_job,
    delete_job_execution, device_job_executions, job, job_document, job_execution, job_executions, jobs, update_job,
};
use fleetward_app::{Error, device_groups, labels, registry};
use fleetward_base::JobId;
use fleetward_core::job::{Execution, Job, Policy, Selection, Status};
use fleetward_core::selector::Selector;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::shapes::{
    AbortConfig, RetryConfig, RolloutConfig, SchedulingConfig, TimeoutConfig, abort, bad, list, rate, retry, schedule,
    word,
};
use super::labels::{Tag, write};
use crate::answer::{Answer, Refusal};
use crate::call::{Call, thing};

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    targets: Vec<String>,
    document: Option<String>,
    document_source: Option<String>,
    description: Option<String>,
    comment: Option<String>,
    reason_code: Option<String>,
    target_selection: Option<String>,
    job_executions_rollout_config: Option<RolloutConfig>,
    abort_config: Option<AbortConfig>,
    timeout_config: Option<TimeoutConfig>,
    job_executions_retry_config: Option<RetryConfig>,
    scheduling_config: Option<SchedulingConfig>,
    job_template_arn: Option<String>,
    presigned_url_config: Option<Value>,
    tags: Vec<Tag>,
    expected_version: Option<u64>,
    status_details: Option<BTreeMap<String, String>>,
}

pub(super) fn job_id(text: &str) -> Result<JobId, Refusal> {
    text.parse().map_err(|error: fleetward_base::BadId| Refusal::invalid(format!("jobId must be {}", error.rule)))
}

fn id(call: &Call<'_>) -> Result<JobId, Refusal> {
    job_id(call.path("jobId"))
}

/// Things are taken together, each group is one for itself.
async fn targets(call: &Call<'_>, arns: &[String]) -> Result<Vec<Selector>, Refusal> {
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let (mut things, mut selectors) = (Selector::default(), Vec::new());
    for arn in arns {
        match call.names.split(arn)? {
            ("thing", name) => {
                let device = thing(name)?;
                registry::device(app, ctx, tenant, &device).await?;
                things.devices.insert(device);
            }
            ("thinggroup", name) => {
                device_groups::device_group(app, ctx, tenant, name).await?;
                selectors.push(Selector { tags: [name.to_owned()].into(), ..Selector::default() });
            }
            _ => return Err(Refusal::invalid("targets are things and thing groups")),
        }
    }
    if !things.devices.is_empty() {
        selectors.push(things);
    }
    Ok(selectors)
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, body) = (id(call)?, call.body::<Body>()?);
    if body.document_source.is_some() || body.job_template_arn.is_some() || body.presigned_url_config.is_some() {
        return Err(Refusal::invalid(
            "documentSource, jobTemplateArn and presignedUrlConfig are not offered: send document",
        ));
    }
    let selection = body.target_selection.map_or(Ok(Selection::Snapshot), |text| word(&text, "targetSelection"))?;
    let policy = Policy {
        rate: body.job_executions_rollout_config.map(RolloutConfig::rate).transpose()?,
        abort: body.abort_config.map(AbortConfig::list).transpose()?.unwrap_or_default(),
        retry: body.job_executions_retry_config.map(RetryConfig::list).transpose()?.unwrap_or_default(),
        timeout_minutes: body.timeout_config.and_then(|config| config.in_progress_timeout_in_minutes),
        schedule: body.scheduling_config.map(SchedulingConfig::schedule).transpose()?.unwrap_or_default(),
    };
    let new = NewJob {
        id: id.clone(),
        document: body.document.ok_or_else(|| Refusal::invalid("document is missing"))?,
        description: body.description.filter(|text| !text.is_empty()),
        targets: targets(call, &body.targets).await?,
        selection,
        policy,
    };
    let view = create_job(call.app(), &call.ctx, &call.tenant, new).await?;
    write(call, labels::Kind::Job, id.as_str(), body.tags).await?;
    Ok(made(call, &view.job))
}

fn made(call: &Call<'_>, job: &Job) -> Answer {
    let mut view = json!({ "jobArn": call.names.arn("job", job.id.as_str()), "jobId": job.id.as_str() });
    if let (Some(text), Some(fields)) = (&job.description, view.as_object_mut()) {
        fields.insert("description".to_owned(), json!(text));
    }
    Answer::Json(view)
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let view = job(call.app(), &call.ctx, &call.tenant, &id(call)?).await?;
    Ok(Answer::Json(json!({ "job": shown(call, &view) })))
}

fn shown(call: &Call<'_>, JobView { job, standing, .. }: &JobView) -> Value {
    let mut fields = summary(call, job);
    let mut put = |name: &str, value: Option<Value>| fields.extend(value.map(|value| (name.to_owned(), value)));
    let arns: Vec<String> = job.targets.iter().flat_map(|target| arns(call, target)).collect();
    put("targets", Some(json!(arns)));
    put("description", job.description.as_ref().map(|text| json!(text)));
    put("comment", job.comment.as_ref().map(|text| json!(text)));
    put("reasonCode", job.reason_code.as_ref().map(|text| json!(text)));
    put("forceCanceled", Some(json!(job.force)));
    put("jobExecutionsRolloutConfig", job.policy.rate.as_ref().map(rate));
    put("abortConfig", list(job.policy.abort.iter().map(abort)));
    put("jobExecutionsRetryConfig", list(job.policy.retry.iter().map(retry)));
    let timeout = job.policy.timeout_minutes;
    put("timeoutConfig", timeout.map(|minutes| json!({ "inProgressTimeoutInMinutes": minutes })));
    put("schedulingConfig", Some(schedule(&job.policy.schedule)).filter(|_| !job.policy.schedule.is_empty()));
    put(
        "jobProcessDetails",
        Some(json!({
            "numberOfQueuedThings": standing.queued,
            "numberOfInProgressThings": standing.in_progress,
            "numberOfSucceededThings": standing.succeeded,
            "numberOfFailedThings": standing.failed,
            "numberOfTimedOutThings": standing.timed_out,
            "numberOfRejectedThings": standing.rejected,
            "numberOfRemovedThings": standing.removed,
            "numberOfCanceledThings": standing.canceled,
        })),
    );
    Value::Object(fields)
}

fn summary(call: &Call<'_>, job: &Job) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    put("jobArn", json!(call.names.arn("job", job.id.as_str())));
    put("jobId", json!(job.id.as_str()));
    put("targetSelection", json!(job.selection.as_str().to_ascii_uppercase()));
    put("status", json!(job.state.as_str().to_ascii_uppercase()));
    put("createdAt", json!(job.created_at.secs()));
    put("lastUpdatedAt", json!(job.updated_at.secs()));
    if let Some(at) = job.completed_at {
        put("completedAt", json!(at.secs()));
    }
    fields
}

fn arns(call: &Call<'_>, target: &Selector) -> Vec<String> {
    let things = target.devices.iter().map(|device| call.names.arn("thing", device.as_str()));
    let group = target.tags.first().filter(|_| target.tags.len() == 1 && target.devices.is_empty());
    things.chain(group.map(|tag| call.names.arn("thinggroup", tag))).collect()
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let change = JobChange {
        description: body.description.map(Some),
        rate: body.job_executions_rollout_config.map(RolloutConfig::rate).transpose()?.map(Some),
        abort: body.abort_config.map(AbortConfig::list).transpose()?,
        retry: body.job_executions_retry_config.map(RetryConfig::list).transpose()?,
        timeout_minutes: body.timeout_config.map(|config| config.in_progress_timeout_in_minutes),
        add_targets: Vec::new(),
    };
    update_job(call.app(), &call.ctx, &call.tenant, &id(call)?, None, change).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn associate(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let change = JobChange { add_targets: targets(call, &body.targets).await?, ..JobChange::default() };
    let view = update_job(call.app(), &call.ctx, &call.tenant, &id(call)?, None, change).await?;
    Ok(made(call, &view.job))
}

pub(super) async fn cancel(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (body, force) = (call.body::<Body>()?, call.flag("force")?.unwrap_or(false));
    let why = (body.reason_code, body.comment, force);
    let view = cancel_job(call.app(), &call.ctx, &call.tenant, &id(call)?, None, why).await?;
    Ok(made(call, &view.job))
}

pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, force) = (id(call)?, call.flag("force")?.unwrap_or(false));
    delete_job(call.app(), &call.ctx, &call.tenant, &id, None, force).await.map_err(|error| match error {
        Error::Conflict { code: "job-state", reason } => {
            Refusal::new(StatusCode::CONFLICT, "InvalidStateTransitionException", reason)
        }
        error => error.into(),
    })?;
    labels::forget_labels(call.app(), &call.ctx, &call.tenant, labels::Kind::Job, id.as_str()).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn document(call: &Call<'_>) -> Result<Answer, Refusal> {
    let document = job_document(call.app(), &call.ctx, &call.tenant, &id(call)?).await?;
    Ok(Answer::Json(json!({ "document": document })))
}

pub(super) async fn list_jobs(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let state = call.query("status").map(|text| word(text, "status")).transpose()?;
    let selection = call.query("targetSelection").map(|text| word(text, "targetSelection")).transpose()?;
    if call.query("thingGroupName").is_some() || call.query("thingGroupId").is_some() {
        return Err(Refusal::invalid("thingGroupName and thingGroupId are not offered here"));
    }
    let after = paging.after.as_deref().and_then(|after| after.parse().ok());
    let rows = paging.rows_and_one();
    let found = jobs(call.app(), &call.ctx, &call.tenant, (state, selection), after, rows).await?;
    let key = |one: &Job| one.id.to_string();
    Ok(call.page(&paging, ("jobs", "nextToken"), found, key, |one| Value::Object(summary(call, &one))))
}

fn status(call: &Call<'_>) -> Result<Option<Status>, Refusal> {
    call.query("status").map(|text| word(text, "status")).transpose()
}

pub(super) async fn executions(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let after = paging.after.as_deref().and_then(|after| after.rsplit_once(' '));
    let after = after.and_then(|(device, number)| Some((device.parse().ok()?, number.parse().ok()?)));
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let found = job_executions(app, ctx, tenant, &id(call)?, status(call)?, after, paging.rows_and_one()).await?;
    let key = |one: &Execution| format!("{} {}", one.device, one.number);
    Ok(call.page(&paging, ("executionSummaries", "nextToken"), found, key, |one| {
        let thing = call.names.arn("thing", one.device.as_str());
        json!({ "thingArn": thing, "jobExecutionSummary": execution_summary(&one) })
    }))
}

pub(super) async fn executions_of_thing(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 250)?;
    let after = paging.after.as_deref().and_then(|after| after.rsplit_once(' '));
    let after = after.and_then(|(job, number)| Some((job.parse().ok()?, number.parse().ok()?)));
    let (app, ctx, tenant, device) = (call.app(), &call.ctx, &call.tenant, call.thing()?);
    let only = (status(call)?, call.query("jobId").map(job_id).transpose()?);
    registry::device(app, ctx, tenant, &device).await?;
    let found = device_job_executions(app, ctx, tenant, &device, only, after, paging.rows_and_one()).await?;
    let key = |one: &Execution| format!("{} {}", one.job, one.number);
    Ok(call.page(
        &paging,
        ("executionSummaries", "nextToken"),
        found,
        key,
        |one| json!({ "jobId": one.job.as_str(), "jobExecutionSummary": execution_summary(&one) }),
    ))
}

fn execution_summary(execution: &Execution) -> Value {
    let mut view = json!({
        "status": execution.status.as_str().to_ascii_uppercase(),
        "queuedAt": execution.queued_at.secs(),
        "lastUpdatedAt": execution.updated_at.secs(),
        "executionNumber": execution.number,
        "retryAttempt": execution.failed_before + execution.timed_out_before,
    });
    if let (Some(at), Some(fields)) = (execution.started_at, view.as_object_mut()) {
        fields.insert("startedAt".to_owned(), json!(at.secs()));
    }
    view
}

pub(super) async fn describe_execution(call: &Call<'_>) -> Result<Answer, Refusal> {
    let number = call.number("executionNumber")?;
    let found = job_execution(call.app(), &call.ctx, &call.tenant, &id(call)?, &call.thing()?, number).await?;
    let mut view = execution_summary(&found);
    if let Some(fields) = view.as_object_mut() {
        fields.remove("retryAttempt");
        fields.insert("jobId".to_owned(), json!(found.job.as_str()));
        fields.insert("thingArn".to_owned(), json!(call.names.arn("thing", found.device.as_str())));
        fields.insert("versionNumber".to_owned(), json!(found.version));
        fields.insert("statusDetails".to_owned(), json!({ "detailsMap": found.detail }));
        if let Some(due) = found.due_at() {
            let left = due.since(call.app().now()).as_secs();
            fields.insert("approximateSecondsBeforeTimedOut".to_owned(), json!(left));
        }
    }
    Ok(Answer::Json(json!({ "execution": view })))
}

pub(super) async fn cancel_execution(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Body>()?;
    let asked = CancelExecution {
        force: call.flag("force")?.unwrap_or(false),
        expected_version: body.expected_version,
        detail: body.status_details,
    };
    cancel_job_execution(call.app(), &call.ctx, &call.tenant, &id(call)?, &call.thing()?, asked).await?;
    Ok(Answer::Nothing)
}

pub(super) async fn delete_execution(call: &Call<'_>) -> Result<Answer, Refusal> {
    let number = call.path("executionNumber").parse().map_err(|_| bad("executionNumber"))?;
    let (id, device, force) = (id(call)?, call.thing()?, call.flag("force")?.unwrap_or(false));
    delete_job_execution(call.app(), &call.ctx, &call.tenant, &id, &device, Some(number), force).await?;
    Ok(Answer::Nothing)
}
