//! Strong entity tags, and the precondition that every change must state.
//!
//! A tag is the revision of a resource in quotes, `"17"`. A change without `If-Match` is refused (428), so that nobody
//! overwrites what they have not seen; one for another revision is refused too (412), by the use case and in its
//! transaction. The tag is of the record alone: presence and the counts of a rollout change under it, so it answers no
//! `If-None-Match`. `If-Match: *` says "whatever it is by now" in so many words.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::problem::Problem;

/// The tag of a revision.
pub fn tag(revision: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).expect("digits and quotes are visible ASCII")
}

/// What the caller believes the resource to be at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: any revision, as long as the resource is there.
    Any,
    Revision(u64),
}

impl IfMatch {
    /// The revision to hold the change to; `current` is asked for it where any will do.
    pub async fn revision<E>(self, current: impl Future<Output = Result<u64, E>>) -> Result<u64, E> {
        match self {
            Self::Any => current.await,
            Self::Revision(revision) => Ok(revision),
        }
    }

    fn parse(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(header::IF_MATCH).iter();
        let value = values.next().ok_or_else(|| {
            Problem::new(
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "Say what you are changing",
                "send the ETag of what you have seen as If-Match, or `If-Match: *` to change whatever is there",
            )
        })?;
        if values.next().is_some() {
            return Err(Problem::malformed("If-Match is given more than once").at("If-Match"));
        }
        match value.to_str().unwrap_or_default().trim() {
            "*" => Ok(Self::Any),
            text => {
                let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                let inner = inner.ok_or_else(|| {
                    Problem::malformed("If-Match must be one strong ETag in double quotes, or *").at("If-Match")
                })?;
                // A tag that this server never gave out matches nothing; revisions begin at 1.
                Ok(Self::Revision(revision(inner).unwrap_or(0)))
            }
        }
    }
}

/// Only the one spelling that [`tag`] produces counts.
fn revision(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::parse(&parts.headers)
    }
}

/// A resource as JSON with its tag.
#[derive(Debug)]
pub struct Tagged<T> {
    pub status: StatusCode,
    pub revision: u64,
    pub view: T,
}

impl<T> Tagged<T> {
    pub fn ok(revision: u64, view: T) -> Self {
        Self { status: StatusCode::OK, revision, view }
    }

    pub fn created(revision: u64, view: T) -> Self {
        Self { status: StatusCode::CREATED, revision, view }
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.view)).into_response();
        response.headers_mut().insert(header::ETAG, tag(self.revision));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<IfMatch, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_str(value).expect("a header value"));
        IfMatch::parse(&headers).map_err(|problem| problem.status.as_u16())
    }

    #[test]
    fn only_a_strong_tag_of_ours_can_match() {
        assert_eq!(parse("\"17\""), Ok(IfMatch::Revision(17)));
        assert_eq!(parse("*"), Ok(IfMatch::Any));
        assert_eq!(parse("\"017\""), Ok(IfMatch::Revision(0)));
        assert_eq!(parse("\"+17\""), Ok(IfMatch::Revision(0)));
        assert_eq!(parse("\"\""), Ok(IfMatch::Revision(0)));
        assert_eq!(parse("W/\"17\""), Err(400));
        assert_eq!(parse("17"), Err(400));
        assert_eq!(IfMatch::parse(&HeaderMap::new()).map_err(|p| p.status.as_u16()), Err(428));
        assert_eq!(tag(17), HeaderValue::from_static("\"17\""));
    }
}
