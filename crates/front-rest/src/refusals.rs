//! The one table from meanings to codes.
//!
//! What a use case refuses has a meaning ([`fleetward_app::Error`]); this is what it is called over HTTP. The match is
//! exhaustive, and `tests/it/golden/problems.txt` shows the outcome for people and for whoever changes it.

use std::time::Duration;

use fleetward_app::Error;
use http::StatusCode;

use crate::problem::Problem;

/// When to try again something that is out of reach.
const RETRY: Duration = Duration::from_secs(2);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NotFound { what } => Self::not_found(what),
            Error::Unauthenticated { .. } => Self::unauthenticated(),
            Error::Denied { permission } => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", "Your role does not permit this", detail)
                    .because("permission", permission.as_str())
            }
            Error::Invalid { field, reason } => Self::invalid(field, reason),
            Error::Conflict { code, reason } => {
                Self::new(StatusCode::CONFLICT, code, "It cannot be done in the present state", reason)
            }
            Error::Stale { expected, found } => {
                let detail = format!("you saw revision {expected}, it is at {found}");
                Self::new(StatusCode::PRECONDITION_FAILED, "stale", "It changed meanwhile", detail)
                    .because("expected", expected)
                    .because("found", found)
            }
            Error::Untrusted { code, reason } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, "It cannot be trusted", reason)
            }
            Error::Pending { retry_after } => {
                Self::new(StatusCode::ACCEPTED, "pending", "It waits for approval", detail).retry_after(retry_after)
            }
            Error::TooMany { what, retry_after } => Self::too_many(what, retry_after),
            Error::TooLarge { what, limit } => Self::too_large(what, limit),
            Error::StorageFull => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage-full", "No room left", detail).retry_after(RETRY)
            }
            Error::Unavailable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available just now", detail)
                    .retry_after(RETRY)
            }
            Error::Internal(cause) => {
                // The span of the request has its id.
                tracing::error!(cause = causes(&*cause), "internal fault");
                Self::internal()
            }
        }
    }
}

/// The chain of causes in one line, for the log.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
