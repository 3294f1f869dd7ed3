//! What is refused, as HTTP says it. The one table from meanings to status codes of this door.

use axum::response::{IntoResponse, Response};
use fleetward_app::Error;
use http::{StatusCode, header};

/// A request that gets no artifact, with a line for the person who reads a log.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    text: &'static str,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, text: &'static str) -> Self {
        Self { status, text, retry_after: None }
    }

    pub(crate) fn no_such_artifact() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such artifact for this device")
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } | Error::Denied { .. } => Self::no_such_artifact(),
            Error::Unauthenticated { .. } | Error::Untrusted { .. } => {
                Self::new(StatusCode::FORBIDDEN, "the device's certificate is not accepted")
            }
            Error::TooMany { retry_after, .. } | Error::Pending { retry_after } => Self {
                retry_after: Some(retry_after.as_secs().max(1)),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests")
            },
            Error::Unavailable { .. } | Error::StorageFull => {
                Self { retry_after: Some(5), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "not available just now") }
            }
            Error::Invalid { .. } | Error::Conflict { .. } | Error::Stale { .. } | Error::TooLarge { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "this request makes no sense")
            }
            Error::Internal(cause) => {
                tracing::error!(%cause, "an artifact could not be given");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal fault")
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, format!("{}\n", self.text)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
