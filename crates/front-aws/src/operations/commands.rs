//! Commands and their executions. A command is a template of ours by its name, an execution is a command for one device: its
//! id is ours, and what it is sent with is what the template says.
//!
//! These operations have errors of their own: what elsewhere is an invalid request is a `ValidationException` here.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::commands::templates::{
    CommandTemplate, NewTemplate, TemplateChange, amend_command_template, command_template, command_templates,
    create_command_template, delete_command, remove_command_template, send_template,
};
use fleetward_app::commands::{CommandFilter, CommandSummary, NewCommand, command, commands, device_commands};
use fleetward_app::{Error, labels};
use fleetward_base::{CommandId, DeviceId};
use fleetward_core::command::{Command, Status};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::labels::{Tag, write};
use crate::answer::{Answer, Refusal};
use crate::call::{Call, thing};
use crate::names::stable_id;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Body {
    namespace: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    payload: Option<Payload>,
    payload_template: Option<Value>,
    preprocessor: Option<Value>,
    mandatory_parameters: Vec<Value>,
    deprecated: Option<bool>,
    tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Payload {
    content: Option<String>,
    content_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Execution {
    namespace: Option<String>,
    target_arn: Option<String>,
    command_arn: Option<String>,
    parameters: Option<Value>,
    execution_timeout_seconds: Option<u64>,
    client_token: Option<String>,
    status: Option<String>,
    sort_order: Option<String>,
    started_time_filter: Option<Value>,
    completed_time_filter: Option<Value>,
}

/// As these operations call what is refused.
fn words(refusal: Refusal) -> Refusal {
    let (status, kind) = match refusal.kind {
        "InvalidRequestException" => (StatusCode::BAD_REQUEST, "ValidationException"),
        "ResourceAlreadyExistsException" | "VersionConflictException" => (StatusCode::CONFLICT, "ConflictException"),
        "LimitExceededException" => (StatusCode::PAYMENT_REQUIRED, "ServiceQuotaExceededException"),
        "InternalFailureException" => (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerException"),
        _ => return refusal,
    };
    Refusal::new(status, kind, refusal.message)
}

fn conflict(error: Error) -> Refusal {
    match error {
        Error::Conflict { reason, .. } => Refusal::new(StatusCode::CONFLICT, "ConflictException", reason),
        error => error.into(),
    }
}

fn namespace(name: Option<&str>) -> Result<(), Refusal> {
    match name {
        None | Some("AWS-IoT") => Ok(()),
        Some(_) => Err(Refusal::invalid("the only namespace is AWS-IoT")),
    }
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Refusal> {
    made(call).await.map_err(words)
}

async fn made(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("commandId"), call.body::<Body>()?);
    namespace(body.namespace.as_deref())?;
    if body.payload_template.is_some() || body.preprocessor.is_some() || !body.mandatory_parameters.is_empty() {
        let message = "payloadTemplate, preprocessor and mandatoryParameters are not offered: send payload";
        return Err(Refusal::invalid(message));
    }
    let payload = body.payload.ok_or_else(|| Refusal::invalid("payload is missing"))?;
    let content = payload.content.unwrap_or_default();
    let new = NewTemplate {
        name: name.to_owned(),
        title: body.display_name,
        description: body.description,
        content_type: payload.content_type,
        payload: BASE64_STANDARD.decode(content).map_err(|_| Refusal::invalid("payload.content must be base64"))?,
    };
    create_command_template(call.app(), &call.ctx, &call.tenant, new).await?;
    write(call, labels::Kind::Command, name, body.tags).await?;
    Ok(Answer::Json(json!({ "commandId": name, "commandArn": call.names.arn("command", name) })))
}

pub(super) async fn describe(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = command_template(call.app(), &call.ctx, &call.tenant, call.path("commandId")).await?;
    let mut view = summary(call, &found);
    view.insert("namespace".to_owned(), json!("AWS-IoT"));
    let content = BASE64_STANDARD.encode(&found.payload);
    view.insert("payload".to_owned(), json!({ "content": content, "contentType": found.content_type }));
    view.extend(found.description.map(|text| ("description".to_owned(), json!(text))));
    Ok(Answer::Json(Value::Object(view)))
}

fn summary(call: &Call<'_>, of: &CommandTemplate) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("commandId".to_owned(), json!(of.name));
    view.insert("commandArn".to_owned(), json!(call.names.arn("command", &of.name)));
    view.insert("deprecated".to_owned(), json!(of.deprecated));
    view.insert("pendingDeletion".to_owned(), json!(false));
    view.insert("createdAt".to_owned(), json!(of.created_at.secs()));
    view.insert("lastUpdatedAt".to_owned(), json!(of.updated_at.secs()));
    view.extend(of.title.as_ref().map(|title| ("displayName".to_owned(), json!(title))));
    view
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    listed(call).await.map_err(words)
}

async fn listed(call: &Call<'_>) -> Result<Answer, Refusal> {
    namespace(call.query("namespace"))?;
    if call.query("commandParameterName").is_some() || call.query("sortOrder") == Some("DESCENDING") {
        return Err(Refusal::invalid("commands have no parameters here, and are listed by name"));
    }
    let paging = call.paging("maxResults", "nextToken", 100)?;
    let (after, rows) = (paging.after.clone(), paging.rows_and_one());
    let found = command_templates(call.app(), &call.ctx, &call.tenant, after, rows).await?;
    let key = |one: &CommandTemplate| one.name.clone();
    Ok(call.page(&paging, ("commands", "nextToken"), found, key, |one| Value::Object(summary(call, &one))))
}

pub(super) async fn update(call: &Call<'_>) -> Result<Answer, Refusal> {
    amended(call).await.map_err(words)
}

async fn amended(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (name, body) = (call.path("commandId"), call.body::<Body>()?);
    let change =
        TemplateChange { title: body.display_name, description: body.description, deprecated: body.deprecated };
    let after = amend_command_template(call.app(), &call.ctx, &call.tenant, name, None, change).await?;
    let mut view = summary(call, &after);
    view.extend(after.description.map(|text| ("description".to_owned(), json!(text))));
    Ok(Answer::Json(Value::Object(view)))
}

/// One that is not there is none any more, as with AWS.
pub(super) async fn delete(call: &Call<'_>) -> Result<Answer, Refusal> {
    let name = call.path("commandId");
    match remove_command_template(call.app(), &call.ctx, &call.tenant, name, None).await {
        Err(Error::NotFound { what: "command template" }) => Ok(Answer::Nothing),
        other => other.map(|()| Answer::Nothing).map_err(|error| words(error.into())),
    }
}

/// The thing that is meant, and the name of the command where it is said.
fn target(call: &Call<'_>, arn: Option<&str>) -> Result<DeviceId, Refusal> {
    match call.names.split(arn.ok_or_else(|| Refusal::invalid("targetArn is missing"))?)? {
        ("thing", name) => thing(name),
        _ => Err(Refusal::invalid("targetArn must be of a thing")),
    }
}

pub(super) async fn start(call: &Call<'_>) -> Result<Answer, Refusal> {
    started(call).await.map_err(words)
}

async fn started(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Execution>()?;
    if body.parameters.is_some() {
        return Err(Refusal::invalid("commands have no parameters here"));
    }
    let device = target(call, body.target_arn.as_deref())?;
    let named = body.command_arn.as_deref().ok_or_else(|| Refusal::invalid("commandArn is missing"))?;
    let name = call.names.name_of("command", named)?;
    let timeout = body.execution_timeout_seconds.map(Duration::from_secs);
    // The same token is the same execution.
    let id = body.client_token.map(|token| execution_of(call.names.account(), &token)).transpose()?;
    let how = NewCommand { id, life: timeout, run_timeout: timeout, ..NewCommand::default() };
    let sent = send_template(call.app(), &call.ctx, &call.tenant, (name, &device), how).await.map_err(conflict)?;
    Ok(Answer::Json(json!({ "executionId": sent.id.as_str() })))
}

/// The execution that a token is for: its own text where that is an id, and otherwise one that is the same each time.
fn execution_of(account: &str, token: &str) -> Result<CommandId, Refusal> {
    if token.is_empty() {
        return Err(Refusal::invalid("clientToken must not be empty"));
    }
    let read = token.parse::<CommandId>();
    let read = read.or_else(|_| stable_id(&[account, "execution", token]).parse::<CommandId>());
    read.map_err(|error| Refusal::invalid(format!("clientToken must be {}", error.rule)))
}

fn execution_id(call: &Call<'_>) -> Result<CommandId, Refusal> {
    let read = call.path("executionId").parse();
    read.map_err(|error: fleetward_base::BadId| Refusal::invalid(format!("executionId must be {}", error.rule)))
}

pub(super) async fn describe_execution(call: &Call<'_>) -> Result<Answer, Refusal> {
    described(call).await.map_err(words)
}

async fn described(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, device) = (execution_id(call)?, target(call, call.query("targetArn"))?);
    let found = command(call.app(), &call.ctx, &call.tenant, &device, &id).await?.command;
    let mut view = execution(call, &found);
    view.insert("lastUpdatedAt".to_owned(), json!(found.updated_at.secs()));
    view.insert("executionTimeoutSeconds".to_owned(), json!(found.run_timeout.as_secs()));
    if let Some(reason) = reason(&found) {
        view.insert("statusReason".to_owned(), reason);
    }
    if let (true, Some(result)) = (call.flag("includeResult")?.unwrap_or(false), &found.result) {
        view.extend(results(result).map(|result| ("result".to_owned(), result)));
    }
    Ok(Answer::Json(Value::Object(view)))
}

fn reason(command: &Command) -> Option<Value> {
    let (code, text) = match (&command.reason, command.status) {
        (Some(reason), _) => (reason.code.as_str(), reason.text.as_deref()),
        (None, Status::Canceled) => ("CANCELED", Some("an operator took it back")),
        (None, Status::Superseded) => ("SUPERSEDED", Some("another took its place before it was sent")),
        (None, Status::Expired) => ("EXPIRED", Some("its time was over before it reached the thing")),
        (None, _) => return None,
    };
    let mut view = json!({ "reasonCode": code });
    if let (Some(text), Some(fields)) = (text, view.as_object_mut()) {
        fields.insert("reasonDescription".to_owned(), json!(text));
    }
    Some(view)
}

/// Devices write the kind of a value small, this operation large.
fn results(text: &str) -> Option<Value> {
    let all: Map<String, Value> = serde_json::from_str(text).ok()?;
    let large = |value: Value| match value {
        Value::Object(kinds) => {
            kinds.into_iter().map(|(kind, value)| (kind.to_ascii_uppercase(), value)).collect::<Map<_, _>>().into()
        }
        other => other,
    };
    Some(all.into_iter().map(|(name, value)| (name, large(value))).collect::<Map<_, _>>().into())
}

const fn status(status: Status) -> &'static str {
    match status {
        Status::Queued | Status::Sent => "CREATED",
        Status::Running => "IN_PROGRESS",
        Status::Succeeded => "SUCCEEDED",
        Status::Failed => "FAILED",
        // Nobody did it, and nobody will.
        Status::Rejected | Status::Canceled | Status::Superseded => "REJECTED",
        Status::TimedOut | Status::Expired => "TIMED_OUT",
    }
}

fn execution(call: &Call<'_>, command: &Command) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("executionId".to_owned(), json!(command.id.as_str()));
    view.insert("commandArn".to_owned(), json!(call.names.arn("command", &command.op)));
    view.insert("targetArn".to_owned(), json!(call.names.arn("thing", command.device.as_str())));
    view.insert("status".to_owned(), json!(status(command.status)));
    view.insert("createdAt".to_owned(), json!(command.created_at.secs()));
    view.extend(command.started_at.map(|at| ("startedAt".to_owned(), json!(at.secs()))));
    view.extend(command.finished_at.map(|at| ("completedAt".to_owned(), json!(at.secs()))));
    view
}

pub(super) async fn executions(call: &Call<'_>) -> Result<Answer, Refusal> {
    list_executions(call).await.map_err(words)
}

/// Those of a thing with the newest first; those of a command alone by their ids. A page may hold less than was asked for
/// and yet go on.
async fn list_executions(call: &Call<'_>) -> Result<Answer, Refusal> {
    let body = call.body::<Execution>()?;
    namespace(body.namespace.as_deref())?;
    if body.started_time_filter.is_some() || body.completed_time_filter.is_some() {
        return Err(Refusal::invalid("executions are not filtered by time here"));
    }
    if body.sort_order.as_deref() == Some("ASCENDING") {
        return Err(Refusal::invalid("executions are not listed in ascending order here"));
    }
    let op = body.command_arn.as_deref().map(|arn| call.names.name_of("command", arn)).transpose()?;
    let wanted = body.status.as_deref();
    if !wanted.is_none_or(|wanted| Status::ALL.iter().any(|known| status(*known) == wanted)) {
        return Err(Refusal::invalid("status is not one that an execution has"));
    }
    let question = format!("{:?} {:?} {:?}", body.target_arn, op, wanted);
    let rows = call.paging_of(call.number("maxResults")?, None, ("maxResults", "nextToken"), 100)?.rows;
    let token = call.query("nextToken").map(|token| call.place_in(&question, token)).transpose();
    let (found, next) = match (&body.target_arn, op) {
        (None, None) => return Err(Refusal::invalid("targetArn or commandArn is missing")),
        (arn @ Some(_), _) => of_thing(call, &target(call, arn.as_deref())?, token?, rows).await?,
        (None, Some(op)) => of_command(call, op, token?, rows).await?,
    };
    let shown: Vec<Value> = found
        .iter()
        .map(|one| &one.command)
        .filter(|one| wanted.is_none_or(|wanted| status(one.status) == wanted))
        .filter(|one| op.is_none_or(|op| one.op == op))
        .map(|one| Value::Object(execution(call, one)))
        .collect();
    let mut view = json!({ "commandExecutions": shown });
    if let (Some(next), Some(fields)) = (next, view.as_object_mut()) {
        fields.insert("nextToken".to_owned(), json!(call.token_after(&question, &next)));
    }
    Ok(Answer::Json(view))
}

/// One page, and after what the next one begins.
type Found = (Vec<CommandSummary>, Option<String>);

async fn of_thing(call: &Call<'_>, device: &DeviceId, after: Option<String>, rows: u32) -> Result<Found, Refusal> {
    let before = after.and_then(|after| after.parse().ok());
    let (app, ctx, tenant) = (call.app(), &call.ctx, &call.tenant);
    let found = device_commands(app, ctx, tenant, device, None, before, rows.saturating_add(1)).await?;
    Ok(page(found, rows, |one| one.command.seq.to_string()))
}

async fn of_command(call: &Call<'_>, op: &str, after: Option<String>, rows: u32) -> Result<Found, Refusal> {
    let filter = CommandFilter { op: Some(op.to_owned()), ..CommandFilter::default() };
    let after = after.as_deref().and_then(|after| after.split_once(' '));
    let after = after.and_then(|(id, device)| Some((id.parse().ok()?, device.parse().ok()?)));
    let found = commands(call.app(), &call.ctx, &call.tenant, filter, after, rows.saturating_add(1)).await?;
    Ok(page(found, rows, |one| format!("{} {}", one.command.id, one.command.device)))
}

fn page(mut found: Vec<CommandSummary>, rows: u32, key: impl Fn(&CommandSummary) -> String) -> Found {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    let more = found.len() > rows;
    found.truncate(rows);
    let next = found.last().filter(|_| more).map(key);
    (found, next)
}

/// One that is not there is none any more, as with AWS.
pub(super) async fn delete_execution(call: &Call<'_>) -> Result<Answer, Refusal> {
    deleted(call).await.map_err(words)
}

async fn deleted(call: &Call<'_>) -> Result<Answer, Refusal> {
    let (id, device) = (execution_id(call)?, target(call, call.query("targetArn"))?);
    match delete_command(call.app(), &call.ctx, &call.tenant, &device, &id).await {
        Err(Error::NotFound { what: "command" }) => Ok(Answer::Nothing),
        other => other.map(|()| Answer::Nothing).map_err(conflict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_token_is_the_same_execution() {
        let id = |token: &str| execution_of("1", token).map(|id| id.to_string()).ok();
        assert_eq!(id("execution-1").as_deref(), Some("execution-1"));
        assert!(id("a:b/c").is_some() && id("a:b/c") == id("a:b/c") && id("a:b/c") != id("a:b/d"));
        assert!(id("").is_none());
    }
}
