//! Refusals: from the meaning of an error to a status and a line of plain text (RFC 7030 §4.2.3).
//!
//! A 401 challenges only where there was neither a certificate nor a credential. Whoever sent one and was refused must
//! not be asked to guess on; strongSwan would not answer, and others would ask their user.

use axum::response::{IntoResponse, Response};
use fleetward_app::Error;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, StatusCode};

const CHALLENGE: &str = "Basic realm=\"fleetward\", charset=\"UTF-8\"";
/// Where we do not know better, in seconds.
const RETRY_AFTER_SECS: u64 = 10;

/// Why there is no certificate.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), header: None }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such EST service")
    }

    pub(crate) fn not_implemented(text: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, text)
    }

    pub(crate) fn method(allowed: Method) -> Self {
        let text = format!("use {allowed}");
        let value = HeaderValue::from_str(allowed.as_str()).unwrap_or(HeaderValue::from_static("POST"));
        Self { header: Some((ALLOW, value)), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, text) }
    }

    /// Neither a certificate nor a credential.
    pub(crate) fn challenge(text: &str) -> Self {
        let header = Some((WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE)));
        Self { header, ..Self::new(StatusCode::UNAUTHORIZED, text) }
    }

    /// The listener did not say who is at the other end.
    pub(crate) fn without_peer() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal fault")
    }

    fn retry(status: StatusCode, text: String, secs: u64) -> Self {
        Self { header: Some((RETRY_AFTER, HeaderValue::from(secs.max(1)))), ..Self::new(status, text) }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, text),
            Error::Unauthenticated { reason } => Self::new(StatusCode::UNAUTHORIZED, reason),
            Error::Denied { .. } | Error::Conflict { .. } => Self::new(StatusCode::FORBIDDEN, text),
            Error::Invalid { .. } | Error::Untrusted { .. } | Error::Stale { .. } => {
                Self::new(StatusCode::BAD_REQUEST, text)
            }
            Error::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text),
            // RFC 7030 §4.2.3: the same request is to be sent again.
            Error::Pending { retry_after } => Self::retry(StatusCode::ACCEPTED, text, retry_after.as_secs()),
            Error::TooMany { retry_after, .. } => {
                Self::retry(StatusCode::TOO_MANY_REQUESTS, text, retry_after.as_secs())
            }
            Error::StorageFull | Error::Unavailable { .. } => {
                Self::retry(StatusCode::SERVICE_UNAVAILABLE, text, RETRY_AFTER_SECS)
            }
            Error::Internal(cause) => {
                tracing::error!(%cause, "enrolment failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text + "\n").into_response();
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if let Some((name, value)) = self.header {
            fields.insert(name, value);
        }
        response
    }
}
