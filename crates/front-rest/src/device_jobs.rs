//! Jobs over HTTPS on the devices' door, as the AWS jobs data plane has it: `GET /things/{thing}/jobs`, `PUT
//! /things/{thing}/jobs/$next`, `GET` and `POST /things/{thing}/jobs/{jobId}`.
//!
//! The same queue as on the topics: jobs and deployments in one order. The client certificate says who asks, for each request
//! anew. A document is a text here and an object on MQTT, as with AWS. Nothing is
//! pushed on this way; what changes is still told on the topics.

use std::net::IpAddr;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fleetward_app::enroll::{Attempt, admit_chain};
use fleetward_app::jobs::{self, Item, ReportError, Work};
use fleetward_app::{App, Ctx, Error, Peer};
use fleetward_base::{Timestamp, limits};
use fleetward_core::job::Status;
use fleetward_core::job::execution::{Refused, Report, StepTimeout};
use fleetward_wire::aws::jobs::{self as wire, Request as _, StartNextRequest, UpdateRequest};
use fleetward_wire::aws::topic::NEXT;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::read;
use crate::listing::read_query;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// The routes. Requests carry the [`Peer`] of their connection as an extension.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/things/{thing}/jobs", get(pending))
        .route("/things/{thing}/jobs/{job}", get(describe).put(start_next).post(update))
        .with_state(app)
}

/// A refusal in the making.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
    state: Option<Value>,
}

type Answer = Result<Value, Refusal>;

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), state: None }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequestException", message)
    }

    fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", "There is no such job execution")
    }

    fn terminal() -> Self {
        Self::new(StatusCode::GONE, "TerminalStateException", "The job execution is at its end")
    }

    fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UnauthorizedException", "Unauthorized")
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::absent(),
            Error::Invalid { .. } => Self::invalid(error.to_string()),
            Error::TooMany { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", "Too many requests")
            }
            Error::Unauthenticated { .. } | Error::Denied { .. } | Error::Untrusted { .. } => Self::unauthorized(),
            Error::Unavailable { .. } | Error::StorageFull | Error::Conflict { .. } => {
                let message = "Not available just now; try again";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
            }
            error => {
                tracing::warn!(%error, "a jobs request over HTTPS failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailureException", "Internal service failure")
            }
        }
    }
}

impl From<ReportError> for Refusal {
    fn from(error: ReportError) -> Self {
        let (refused, work) = match error {
            ReportError::App(error) => return error.into(),
            ReportError::Refused { refused, work } => (refused, work),
        };
        match refused {
            Refused::BadDetail | Refused::BadStepTimeout => Self::invalid(refused.to_string()),
            Refused::VersionMismatch { .. } | Refused::InvalidTransition { .. } => Self {
                state: Some(state(&work)),
                ..Self::new(StatusCode::CONFLICT, "InvalidStateTransitionException", refused.to_string())
            },
        }
    }
}

async fn pending(State(app): State<App>, Path(thing): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let outcome = async {
        let ctx = device(&app, &thing, &parts).await?;
        let pending = jobs::pending(&app, &ctx).await?;
        let of = |status| pending.iter().filter(|work| work.status == status).map(summary).collect::<Vec<_>>();
        Ok(json!({ "inProgressJobs": of(Status::InProgress), "queuedJobs": of(Status::Queued) }))
    };
    answer(&app, outcome.await)
}

async fn start_next(State(app): State<App>, at: Path<(String, String)>, request: Request) -> Response {
    let Path((thing, job)) = at;
    let (parts, body) = request.into_parts();
    let outcome = async {
        let ctx = device(&app, &thing, &parts).await?;
        if job != NEXT {
            return Err(Refusal::invalid("Only $next is started by PUT"));
        }
        let asked = StartNextRequest::parse(&payload(&parts, body).await?).map_err(unreadable)?;
        let step_timeout = step_timeout(asked.step_timeout_in_minutes)?;
        let next = jobs::start_next(&app, &ctx, asked.status_details, step_timeout).await?;
        Ok(executed(next, true, app.now()))
    };
    answer(&app, outcome.await)
}

/// What AWS lets a caller say of a description. It ignores what it does not know.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Which {
    include_job_document: Option<bool>,
    execution_number: Option<i64>,
}

async fn describe(State(app): State<App>, at: Path<(String, String)>, request: Request) -> Response {
    let Path((thing, job)) = at;
    let (parts, _) = request.into_parts();
    let outcome = async {
        let ctx = device(&app, &thing, &parts).await?;
        let which: Which = read_query(parts.uri.query().unwrap_or_default())
            .map_err(|_| Refusal::invalid("A parameter is not what it should be"))?;
        let document = which.include_job_document.unwrap_or(true);
        if job == NEXT {
            let (tenant, device) = ctx.device()?;
            return Ok(executed(jobs::next(&app, tenant, device).await?, document, app.now()));
        }
        let found = jobs::describe(&app, &ctx, &job, number(which.execution_number)?).await?;
        if found.work.status.is_terminal() {
            return Err(Refusal::terminal());
        }
        Ok(executed(Some(found), document, app.now()))
    };
    answer(&app, outcome.await)
}

async fn update(State(app): State<App>, at: Path<(String, String)>, request: Request) -> Response {
    let Path((thing, job)) = at;
    let (parts, body) = request.into_parts();
    let outcome = async {
        let ctx = device(&app, &thing, &parts).await?;
        let asked = UpdateRequest::parse(&payload(&parts, body).await?).map_err(unreadable)?;
        let status = match asked.status {
            wire::Status::InProgress => Status::InProgress,
            wire::Status::Succeeded => Status::Succeeded,
            wire::Status::Failed => Status::Failed,
            wire::Status::Rejected => Status::Rejected,
            _ => return Err(Refusal::invalid("A device does not set this status")),
        };
        let step_timeout = step_timeout(asked.step_timeout_in_minutes)?;
        let (detail, expected_version) = (asked.status_details, asked.expected_version);
        let report = Report { status, detail, expected_version, step_timeout };
        let work = jobs::report(&app, &ctx, &job, number(asked.execution_number)?, report).await?;
        let mut body = json!({});
        if asked.include_job_execution_state == Some(true) {
            insert(&mut body, "executionState", state(&work));
        }
        if asked.include_job_document == Some(true) {
            let document = jobs::describe(&app, &ctx, &job, Some(work.number)).await?.document;
            insert(&mut body, "jobDocument", document.to_string());
        }
        Ok(body)
    };
    answer(&app, outcome.await)
}

/// The device that the connection's certificate names, if it may come in and is the one that is asked about.
async fn device(app: &App, thing: &str, parts: &Parts) -> Result<Ctx, Refusal> {
    let peer = parts.extensions.get::<Peer>().ok_or_else(Refusal::unauthorized)?;
    peer.leaf().ok_or_else(Refusal::unauthorized)?;
    let address: IpAddr = peer.address.ip();
    let attempt = Attempt { address, request_id: app.new_request_id() };
    // Whatever keeps it out: nothing is said of what is there.
    let admitted = admit_chain(app, &attempt, &peer.certificates).await.map_err(|error| match error {
        Error::NotFound { .. } | Error::Conflict { .. } | Error::Invalid { .. } => Refusal::unauthorized(),
        error => error.into(),
    });
    let principal = admitted?.principal();
    let ctx = Ctx { principal, request_id: attempt.request_id, address: Some(address), idempotency: None };
    if ctx.device()?.1.as_str() == thing {
        return Ok(ctx);
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "ForbiddenException", "Forbidden"))
}

async fn payload(parts: &Parts, body: axum::body::Body) -> Result<bytes::Bytes, Refusal> {
    // A client that has nothing to say may say nothing.
    read(&parts.headers, body, limits::MQTT_PAYLOAD_BYTES)
        .await
        .map_err(|problem| Refusal::new(problem.status, "InvalidRequestException", problem.detail))
}

fn unreadable(code: wire::RejectCode) -> Refusal {
    Refusal::invalid(match code {
        wire::RejectCode::InvalidJson => "The payload is not JSON",
        _ => "The payload is not a request of this operation",
    })
}

fn number(number: Option<i64>) -> Result<Option<u64>, Refusal> {
    number.map(u64::try_from).transpose().map_err(|_| Refusal::absent())
}

fn step_timeout(minutes: Option<i64>) -> Result<Option<StepTimeout>, Refusal> {
    minutes.map(StepTimeout::of_minutes).transpose().map_err(|refused| Refusal::invalid(refused.to_string()))
}

fn insert(body: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(fields) = body.as_object_mut() {
        fields.insert(key.to_owned(), value.into());
    }
}

fn summary(work: &Work) -> Value {
    let mut body = json!({
        "jobId": work.id,
        "queuedAt": work.queued_at.secs(),
        "lastUpdatedAt": work.updated_at.secs(),
        "versionNumber": work.version,
        "executionNumber": work.number,
    });
    if let Some(at) = work.started_at {
        insert(&mut body, "startedAt", at.secs());
    }
    body
}

fn executed(item: Option<Item>, with_document: bool, now: Timestamp) -> Value {
    let Some(Item { work, document }) = item else { return json!({}) };
    let mut body = summary(&work);
    insert(&mut body, "thingName", work.device.as_str());
    insert(&mut body, "status", status(work.status));
    insert(&mut body, "statusDetails", json!(work.detail));
    if let Some(due) = work.due_at {
        insert(&mut body, "approximateSecondsBeforeTimedOut", due.secs().saturating_sub(now.secs()).max(0));
    }
    if with_document {
        insert(&mut body, "jobDocument", document.to_string());
    }
    json!({ "execution": body })
}

fn state(work: &Work) -> Value {
    json!({ "status": status(work.status), "statusDetails": work.detail, "versionNumber": work.version })
}

fn status(status: Status) -> String {
    status.as_str().to_ascii_uppercase()
}

fn answer(app: &App, outcome: Answer) -> Response {
    let (status, body, kind) = match outcome {
        Ok(body) => (StatusCode::OK, body, None),
        Err(Refusal { status, kind, message, state }) => {
            let mut body = json!({ "message": message });
            if let Some(state) = state {
                insert(&mut body, "executionState", state);
            }
            (status, body, Some(kind))
        }
    };
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(app.new_request_id().to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(kind) = kind {
        headers.insert(ERROR_TYPE, HeaderValue::from_static(kind));
    }
    response
}
