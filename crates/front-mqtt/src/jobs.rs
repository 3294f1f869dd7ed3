//! The jobs service: `$aws/things/{thing}/jobs/..` over deployments.
//!
//! A deployment is a job execution: its rollout is the job, its version the `versionNumber`, and there is one execution,
//! number 1. Answers go to the requester only, subscribed or not.

use std::sync::Arc;

use fleetward_app::deployments::{self, Job, ReportError};
use fleetward_app::{Ctx, Error};
use fleetward_base::Timestamp;
use fleetward_broker::{Principal, ServiceRequest};
use fleetward_core::deployment::{Deployment, JobId, Refused, Report, Status};
use fleetward_wire::aws::client_token;
use fleetward_wire::aws::jobs::{
    self as wire, DescribeRequest, Execution, ExecutionAccepted, ExecutionState, GetAccepted, GetRequest, RejectCode,
    Rejected, Request, StartNextRequest, Summary, UpdateAccepted, UpdateRequest,
};
use fleetward_wire::aws::topic::{JobsOp, JobsPart, NEXT, Topic};

use crate::MqttHooks;
use crate::answer::encode;

/// The one execution that a deployment is.
const EXECUTION: i64 = 1;

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
        let (refused, deployment) = match error {
            ReportError::App(error) => return error.into(),
            ReportError::Refused { refused, deployment } => (refused, deployment),
        };
        let code = match refused {
            Refused::VersionMismatch { .. } => RejectCode::VersionMismatch,
            Refused::InvalidTransition { .. } => RejectCode::InvalidStateTransition,
            Refused::BadDetail => RejectCode::InvalidRequest,
        };
        let state = (code != RejectCode::InvalidRequest).then(|| state(&deployment));
        Self { code, message: refused.to_string(), state }
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
        let pending = deployments::pending(&self.app, ctx).await?;
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
        let job = deployments::start_next(&self.app, ctx, asked.status_details).await?;
        Ok(accepted(job, self.app.now(), true, client_token))
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
            let next = deployments::next_of(&self.app, &principal.tenant, &principal.device).await?;
            return Ok(accepted(next, self.app.now(), document, client_token));
        }
        let id = execution(job, asked.execution_number)?;
        let found = deployments::describe(&self.app, ctx, id).await?;
        if found.deployment.status.is_terminal() {
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
        let id = execution(job, asked.execution_number)?;
        let status = match asked.status {
            wire::Status::InProgress => Status::InProgress,
            wire::Status::Succeeded => Status::Succeeded,
            wire::Status::Failed => Status::Failed,
            wire::Status::Rejected => Status::Rejected,
            _ => return Err(Reject::new(RejectCode::InvalidRequest, "A device does not set this status")),
        };
        let report = Report { status, detail: asked.status_details, expected_version: asked.expected_version };
        let reported = deployments::report(&self.app, ctx, id, report).await?;
        let mut job_document = None;
        if asked.include_job_document == Some(true) {
            let job = deployments::describe(&self.app, ctx, id).await?;
            job_document = serde_json::to_value(job.document).ok();
        }
        let execution_state = (asked.include_job_execution_state == Some(true)).then(|| state(&reported.deployment));
        let timestamp = self.app.now().secs();
        Ok(encode(&UpdateAccepted { execution_state, job_document, timestamp, client_token }))
    }
}

/// Which deployment a job id means. One that cannot be anybody's is not there.
fn execution(job: &str, number: Option<i64>) -> Result<JobId, Reject> {
    let absent = || Reject::new(RejectCode::ResourceNotFound, "There is no such job execution");
    if number.is_some_and(|number| number != EXECUTION) {
        return Err(absent());
    }
    job.parse().map_err(|_| absent())
}

fn accepted(job: Option<Job>, now: Timestamp, document: bool, client_token: Option<String>) -> Vec<u8> {
    let execution = job.map(|job| self::full(job, document));
    encode(&ExecutionAccepted { execution, timestamp: now.secs(), client_token })
}

/// An execution in full.
pub(crate) fn full(job: Job, with_document: bool) -> Execution {
    let Job { deployment, document } = job;
    Execution {
        job_id: deployment.job_id().to_string(),
        thing_name: deployment.device.to_string(),
        job_document: with_document.then(|| serde_json::to_value(document).unwrap_or_default()),
        status: status(deployment.status),
        queued_at: deployment.queued_at.secs(),
        started_at: deployment.started_at.map(Timestamp::secs),
        last_updated_at: deployment.updated_at.secs(),
        approximate_seconds_before_timed_out: None,
        version_number: deployment.version,
        execution_number: EXECUTION,
        status_details: Some(deployment.detail),
    }
}

/// An execution in a list.
pub(crate) fn summary(deployment: &Deployment) -> Summary {
    Summary {
        job_id: deployment.job_id().to_string(),
        queued_at: deployment.queued_at.secs(),
        started_at: deployment.started_at.map(Timestamp::secs),
        last_updated_at: deployment.updated_at.secs(),
        version_number: deployment.version,
        execution_number: EXECUTION,
    }
}

fn state(deployment: &Deployment) -> ExecutionState {
    ExecutionState {
        status: status(deployment.status),
        status_details: Some(deployment.detail.clone()),
        version_number: deployment.version,
    }
}

fn status(status: Status) -> wire::Status {
    match status {
        Status::Queued => wire::Status::Queued,
        Status::InProgress => wire::Status::InProgress,
        Status::Succeeded => wire::Status::Succeeded,
        Status::Failed => wire::Status::Failed,
        Status::Rejected => wire::Status::Rejected,
        Status::TimedOut => wire::Status::TimedOut,
        Status::Canceled => wire::Status::Canceled,
    }
}
