//! What the door says when it does not do what was asked: RFC 9457 problem documents.
//!
//! A handler returns `Result<_, Problem>`. The document itself is written by [`crate::request::serve`], the outermost
//! layer, because only there the request id is known and only there the choice of header fields is made once for all.
//! No problem carries a payload, a secret or the text of an internal fault.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The stem of every problem type.
pub const TYPE_STEM: &str = "https://fleetward.dev/problems/";

/// A refusal on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: StatusCode,
    /// Stable, in kebab case; the last part of `type`.
    pub code: &'static str,
    pub title: &'static str,
    pub detail: String,
    /// Where in the request the fault is, as a path such as `policy.phases[2].percent`.
    pub field: Option<String>,
    /// For a refusal of something visible: what would be needed.
    pub why: Option<Box<Map<String, Value>>>,
    pub retry_after: Option<Duration>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), field: None, why: None, retry_after: None }
    }

    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into()).filter(|field: &String| !field.is_empty() && field != ".");
        self
    }

    #[must_use]
    pub fn because(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.why.get_or_insert_default().insert(key.to_owned(), value.into());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", format!("no such {what}"))
    }

    /// A request that cannot be read, before any of its values is looked at.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", "The request cannot be read", detail)
    }

    /// A value that cannot be.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value is not acceptable", detail).at(field)
    }

    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Sign in first",
            "send a valid token as `Authorization: Bearer TOKEN`",
        )
    }

    pub fn too_large(what: &str, limit: u64) -> Self {
        let detail = format!("{what} is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Too large", detail)
    }

    pub fn too_many(what: &str, after: Duration) -> Self {
        let detail = format!("too many {what}; try again in {} s", whole_seconds(after));
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many", detail).retry_after(after)
    }

    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "A fault of the server",
            "the cause is in the server's log under this request id",
        )
    }

    /// The whole answer, for one request.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let body = Document {
            r#type: format!("{TYPE_STEM}{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            field: self.field.as_deref(),
            why: self.why.as_deref(),
        };
        let text = serde_json::to_string(&body).expect("a problem has string keys only");
        let mut response = (self.status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"fleetward\""));
        }
        response
    }
}

/// Rounded up, and never zero: `Retry-After: 0` invites a tight loop.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs().saturating_add(u64::from(after.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for Problem {
    /// An empty answer that carries the problem to the outermost layer.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The document as it goes over the wire.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// `https://fleetward.dev/problems/` and the code.
    r#type: String,
    /// The kind of problem in words. The same for every problem of this code.
    title: &'a str,
    /// The status code, repeated.
    status: u16,
    /// What is wrong with this request.
    detail: &'a str,
    /// Stable; decide by this.
    code: &'a str,
    /// Under this the server's log has more.
    request_id: &'a str,
    /// Where in the request the fault is.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    /// What would be needed, where that is no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a Map<String, Value>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up_and_never_zero() {
        for (after, secs) in [(0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(after)), secs, "{after} ms");
        }
    }

    #[test]
    fn an_empty_path_is_no_field() {
        assert_eq!(Problem::malformed("x").at(".").field, None);
        assert_eq!(Problem::malformed("x").at("").field, None);
        assert_eq!(Problem::malformed("x").at("a[0]").field.as_deref(), Some("a[0]"));
    }
}
