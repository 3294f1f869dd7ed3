//! The jobs service: `$aws/things/{thing}/jobs/..` over jobs and deployments.
//!
//! One queue: `app::jobs` finds by the id which of them is meant. A deployment is a job execution too: its rollout is the job,
//! its version the `versionNumber`, and there is one execution, number 1. Answers go to the requester only, subscribed or not.

use std::sync::Arc;

use fleetward_app::jobs::{self, Item, ReportError, Work};
use fleetward_app::{Ctx, Error};
use fleetward_base::Timestamp;
use fleetward_broker::{Principal, ServiceRequest};
use fleetward_core::job::Status;
use fleetward_core::job::execution::{Refused, Report, StepTimeout};
use fleetward_wire::aws::client_token;
use fleetward_wire::aws::jobs::{
    self as wire, DescribeRequest, Execution, ExecutionAccepted, ExecutionState, GetAccepted, GetRequest, RejectCode,
    Rejected, Request, StartNextRequest, Summary, UpdateAccepted, UpdateRequest,
};
use fleetward_wire::aws::topic::{JobsOp, JobsPart, NEXT, Topic};

use crate::MqttHooks;
use crate::answer::encode;

/// A rejection in the making.
pub(crate) struct Reject {
    code: RejectCode,
    message: String,
    state: Option<ExecutionState>,
}

impl Reject {
    pub(crate) fn new(code: RejectCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), state: None }
    }
}

impl From<RejectCode> for Reject {
    fn from(code: RejectCode) -> Self {
        let message = match code {
            RejectCode::InvalidJson => "The payload is not JSON",
            _ => "The payload is not a request of this topic",
        };
        Self::new(code, message)
    }
}

impl From<Error> for Reject {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::new(RejectCode::ResourceNotFound, "There is no such job execution"),
            Error::TooMany { .. } => Self::new(RejectCode::RequestThrottled, "Too many requests"),
            error => {
                tracing::warn!(%error, "a jobs request failed");
                Self::new(RejectCode::InternalError, "Internal service failure")
            }
        }
    }
}

impl From<ReportError> for Reject {
    fn from(error: ReportError) -> Self {
        let (refused, work) = match error {
            ReportError::App(error) => return error.into(),
            ReportError::Refused { refused, work } => (refused, work),
        };
        let code = match refused {
            Refused::VersionMismatch { .. } => RejectCode::VersionMismatch,
            Refused::InvalidTransition { .. } => RejectCode::InvalidStateTransition,
            Refused::BadDetail | Refused::BadStepTimeout => RejectCode::InvalidRequest,
        };
        let state = (code != RejectCode::InvalidRequest).then(|| state(&work));
        Self { code, message: refused.to_string(), state }
    }
}

impl From<Refused> for Reject {
    fn from(refused: Refused) -> Self {
        Self::new(RejectCode::InvalidRequest, refused.to_string())
    }
}

impl MqttHooks {
    /// Works on one request and answers it.
    pub(crate) async fn jobs(&self, principal: &Arc<Principal>, op: JobsOp<'_>, request: &ServiceRequest) {
        let (ctx, token) = (self.ctx(principal), client_token(&request.payload));
        let body = match op {
            JobsOp::Get => self.get_pending(&ctx, request, token.clone()).await,
            JobsOp::StartNext => self.start_next(&ctx, request, token.clone()).await,
            JobsOp::Describe(job) => self.describe(&ctx, principal, job, request, token.clone()).await,
            JobsOp::Update(job) => self.update(&ctx, job, request, token.clone()).await,
        };
        match body {
            Ok(body) => self.reply(principal, JobsPart::Accepted(op), &body),
            Err(reject) => self.reject_job(principal, op, reject, token),
        }
    }

    pub(crate) fn reject_job(&self, principal: &Principal, op: JobsOp<'_>, reject: Reject, token: Option<String>) {
        let body = Rejected {
            code: reject.code,
            message: reject.message,
            client_token: token,
            timestamp: self.app.now().secs(),
            execution_state: reject.state,
        };
        self.reply(principal, JobsPart::Rejected(op), &encode(&body));
    }

    fn reply(&self, principal: &Principal, part: JobsPart<'_>, body: &[u8]) {
        let topic = Topic::jobs(principal.device.as_str(), part).to_string();
        self.answer(&principal.tenant, &principal.device, &topic, body);
    }

    async fn get_pending(
        &self,
        ctx: &Ctx,
        request: &ServiceRequest,
        client_token: Option<String>,
    ) -> Result<Vec<u8>, Reject> {
        GetRequest::parse(&request.payload)?;
        let pending = jobs::pending(&self.app, ctx).await?;
        let timestamp = self.app.now().secs();
        let of = |status| pending.iter().filter(|p| p.status == status).map(summary).collect();
        let (in_progress_jobs, queued_jobs) = (of(Status::InProgress), of(Status::Queued));
        Ok(encode(&GetAccepted { in_progress_jobs, queued_jobs, timestamp, client_token }))
    }

    async fn start_next(
        &self,
        ctx: &Ctx,
        request: &ServiceRequest,
        client_token: Option<String>,
    ) -> Result<Vec<u8>, Reject> {
        let asked = StartNextRequest::parse(&request.payload)?;
        let step_timeout = step_timeout(asked.step_timeout_in_minutes)?;
        let next = jobs::start_next(&self.app, ctx, asked.status_details, step_timeout).await?;
        Ok(accepted(next, self.app.now(), true, client_token))
    }

    async fn describe(
        &self,
        ctx: &Ctx,
        principal: &Principal,
        job: &str,
        request: &ServiceRequest,
        client_token: Option<String>,
    ) -> Result<Vec<u8>, Reject> {
        let asked = DescribeRequest::parse(&request.payload)?;
        let document = asked.include_job_document.unwrap_or(true);
        if job == NEXT {
            let next = jobs::next(&self.app, &principal.tenant, &principal.device).await?;
            return Ok(accepted(next, self.app.now(), document, client_token));
        }
        let found = jobs::describe(&self.app, ctx, job, number(asked.execution_number)?).await?;
        if found.work.status.is_terminal() {
            return Err(Reject::new(RejectCode::TerminalStateReached, "The job execution is at its end"));
        }
        Ok(accepted(Some(found), self.app.now(), document, client_token))
    }

    async fn update(
        &self,
        ctx: &Ctx,
        job: &str,
        request: &ServiceRequest,
        client_token: Option<String>,
    ) -> Result<Vec<u8>, Reject> {
        let asked = UpdateRequest::parse(&request.payload)?;
        let number = number(asked.execution_number)?;
        let status = match asked.status {
            wire::Status::InProgress => Status::InProgress,
            wire::Status::Succeeded => Status::Succeeded,
            wire::Status::Failed => Status::Failed,
            wire::Status::Rejected => Status::Rejected,
            _ => return Err(Reject::new(RejectCode::InvalidRequest, "A device does not set this status")),
        };
        let step_timeout = step_timeout(asked.step_timeout_in_minutes)?;
        let expected_version = asked.expected_version;
        let report = Report { status, detail: asked.status_details, expected_version, step_timeout };
        let work = jobs::report(&self.app, ctx, job, number, report).await?;
        let mut job_document = None;
        if asked.include_job_document == Some(true) {
            job_document = Some(jobs::describe(&self.app, ctx, job, Some(work.number)).await?.document);
        }
        let execution_state = (asked.include_job_execution_state == Some(true)).then(|| state(&work));
        let timestamp = self.app.now().secs();
        Ok(encode(&UpdateAccepted { execution_state, job_document, timestamp, client_token }))
    }
}

/// A number that no execution has is not there.
fn number(number: Option<i64>) -> Result<Option<u64>, Reject> {
    let absent = |_| Reject::new(RejectCode::ResourceNotFound, "There is no such job execution");
    number.map(u64::try_from).transpose().map_err(absent)
}

fn step_timeout(minutes: Option<i64>) -> Result<Option<StepTimeout>, Reject> {
    Ok(minutes.map(StepTimeout::of_minutes).transpose()?)
}

fn accepted(item: Option<Item>, now: Timestamp, document: bool, client_token: Option<String>) -> Vec<u8> {
    let execution = item.map(|item| full(item, document, now));
    encode(&ExecutionAccepted { execution, timestamp: now.secs(), client_token })
}

/// An execution in full.
pub(crate) fn full(item: Item, with_document: bool, now: Timestamp) -> Execution {
    let Item { work, document } = item;
    Execution {
        approximate_seconds_before_timed_out: work.due_at.map(|due| due.secs().saturating_sub(now.secs()).max(0)),
        job_document: with_document.then_some(document),
        status: status(work.status),
        queued_at: work.queued_at.secs(),
        started_at: work.started_at.map(Timestamp::secs),
        last_updated_at: work.updated_at.secs(),
        version_number: work.version,
        execution_number: execution_number(work.number),
        job_id: work.id,
        thing_name: Some(work.device.to_string()),
        status_details: Some(work.detail),
    }
}

/// What `notify-next` has of an execution: less than [`full`], as the contract has it.
pub(crate) fn told(item: Item) -> Execution {
    let details = item.work.detail.clone();
    let execution = full(item, true, Timestamp::EPOCH);
    Execution {
        approximate_seconds_before_timed_out: None,
        thing_name: None,
        status_details: (!details.is_empty()).then_some(details),
        ..execution
    }
}

/// An execution in a list.
pub(crate) fn summary(work: &Work) -> Summary {
    Summary {
        job_id: work.id.clone(),
        queued_at: work.queued_at.secs(),
        started_at: work.started_at.map(Timestamp::secs),
        last_updated_at: work.updated_at.secs(),
        version_number: work.version,
        execution_number: execution_number(work.number),
    }
}

fn execution_number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn state(work: &Work) -> ExecutionState {
    ExecutionState {
        status: status(work.status),
        status_details: Some(work.detail.clone()),
        version_number: work.version,
    }
}

fn status(status: Status) -> wire::Status {
    match status {
        Status::Queued => wire::Status::Queued,
        Status::InProgress => wire::Status::InProgress,
        Status::Succeeded => wire::Status::Succeeded,
        Status::Failed => wire::Status::Failed,
        Status::TimedOut => wire::Status::TimedOut,
        Status::Rejected => wire::Status::Rejected,
        Status::Removed => wire::Status::Removed,
        Status::Canceled => wire::Status::Canceled,
    }
}
