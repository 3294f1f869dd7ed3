//! Answers, and what is said where something is not done: AWS's names for it, which its clients make exceptions of.
//!
//! The name stands in `x-amzn-ErrorType`, the sentence in the body's `message`. One table turns the meanings of
//! [`fleetward_app::Error`] into names; it is exhaustive, and `tests/it/golden/refusals.txt` shows it.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use fleetward_app::Error;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::operations::Service;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// What an operation gives back.
#[derive(Debug)]
pub enum Answer {
    Json(Value),
    /// A body that is not made here.
    Raw(Vec<u8>),
    /// No body, and another status than 200 says nothing to these clients.
    Nothing,
}

impl Answer {
    pub(crate) fn render(self, request_id: &str) -> Response {
        let body = match self {
            Self::Json(value) => value.to_string().into_bytes(),
            Self::Raw(bytes) => bytes,
            Self::Nothing => b"{}".to_vec(),
        };
        finish((StatusCode::OK, Body::from(body)).into_response(), request_id)
    }
}

/// Why something was not done, as AWS's clients hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub kind: &'static str,
    pub message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), retry_after: None }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequestException", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    pub(crate) fn missing_token() -> Self {
        Self::new(StatusCode::FORBIDDEN, "MissingAuthenticationTokenException", "Missing Authentication Token")
    }

    pub(crate) fn unknown_operation(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "UnknownOperationException", message)
    }

    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailureException", "Internal failure")
    }

    /// As the data planes say it, where they say it in another way.
    pub(crate) fn of(mut self, service: Service) -> Self {
        self.kind = match (service, self.kind) {
            (Service::Data, "AccessDeniedException") => "ForbiddenException",
            // A version that is another is a state that is another.
            (Service::Jobs, "VersionConflictException") => "InvalidStateTransitionException",
            (_, kind) => kind,
        };
        self
    }

    pub(crate) fn render(&self, request_id: &str) -> Response {
        let body = json!({ "message": self.message }).to_string();
        let mut response = finish((self.status, Body::from(body)).into_response(), request_id);
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(self.kind));
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        response
    }
}

fn finish(mut response: Response, request_id: &str) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NotFound { what } => Self::not_found(format!("There is no such {what}")),
            Error::Unauthenticated { .. } => Self::new(
                StatusCode::FORBIDDEN,
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            Error::Denied { permission } => Self::new(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                format!("The role of the access key lacks the permission {}", permission.as_str()),
            ),
            Error::Invalid { .. } | Error::Untrusted { .. } => Self::invalid(message),
            Error::Conflict { code, reason } => conflict(code, reason),
            Error::Stale { .. } => Self::new(StatusCode::CONFLICT, "VersionConflictException", message),
            Error::TooMany { retry_after, .. } => {
                let refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "ThrottlingException", message);
                Self { retry_after: Some(retry_after), ..refusal }
            }
            Error::TooLarge { .. } => Self::invalid(message),
            Error::Pending { .. } | Error::StorageFull | Error::Unavailable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
            }
            Error::Internal(cause) => {
                tracing::error!(cause = causes(&*cause), "internal fault");
                Self::internal()
            }
        }
    }
}

/// What stands in the way, by its stable code.
fn conflict(code: &'static str, reason: String) -> Refusal {
    let (status, kind) = match code {
        "certificate-active" | "certificate-revoked" | "certificate-detached" | "certificate-inactive" => {
            (StatusCode::NOT_ACCEPTABLE, "CertificateStateException")
        }
        "certificate-attached" | "topic-policy-attached" | "topic-policy-version-counts" => {
            (StatusCode::CONFLICT, "DeleteConflictException")
        }
        "execution-state" => (StatusCode::CONFLICT, "InvalidStateTransitionException"),
        "too-many-jobs" => (StatusCode::GONE, "LimitExceededException"),
        "topic-policy-versions-full" => (StatusCode::CONFLICT, "VersionsLimitExceededException"),
        "version-conflict" => (StatusCode::CONFLICT, "VersionConflictException"),
        code if code.ends_with("-exists") => (StatusCode::CONFLICT, "ResourceAlreadyExistsException"),
        code if code.ends_with("-full") || code.ends_with("-too-deep") => (StatusCode::GONE, "LimitExceededException"),
        _ => (StatusCode::BAD_REQUEST, "InvalidRequestException"),
    };
    Refusal::new(status, kind, reason)
}

/// The chain of causes in one line, for the log.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
