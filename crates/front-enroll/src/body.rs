//! The request in a body: base64 of a PKCS#10 in DER.

use std::time::Duration;

use axum::body::Body;
use fleetward_base::limits::EST_BODY_BYTES;
use fleetward_pki::est;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::refusal::Refusal;

/// A client that has not sent its whole request by then is dropped.
const DEADLINE: Duration = Duration::from_secs(30);

/// The whole body, if it keeps to the limit.
pub(crate) async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refusal> {
    read_within(headers, body, EST_BODY_BYTES).await
}

/// As [`read`], with a limit of its own.
pub(crate) async fn read_within(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large(limit));
    }
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time");
    match tokio::time::timeout(DEADLINE, Limited::new(body, limit).collect()).await.map_err(late)? {
        Ok(collected) => Ok(collected.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the request broke off")),
    }
}

/// The DER in it. Content-Transfer-Encoding is not looked at: whatever it says, it is base64 (RFC 8951 §3.2).
pub(crate) fn request_der(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    if headers.contains_key(CONTENT_TYPE) && !is_of(headers, "application/pkcs10") {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send an application/pkcs10"));
    }
    est::decode(body).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// Whether the body is said to be of this media type, whatever its parameters.
pub(crate) fn is_of(headers: &HeaderMap, kind: &str) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a request has {limit} bytes at most"))
}
