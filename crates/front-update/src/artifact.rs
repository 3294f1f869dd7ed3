//! `GET` and `HEAD /artifacts/{sha256}`.

use std::ops::Range;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use fleetward_app::enroll::{Attempt, admit_chain};
use fleetward_app::releases::{Fetched, device_artifact, open_artifact};
use fleetward_app::{App, Ctx, Peer};
use fleetward_supply::Sha256;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::condition::{self, Verdict};
use crate::multipart;
use crate::range::{self, Asked};
use crate::refusal::Refusal;

pub(crate) const MEDIA_TYPE: &str = "application/octet-stream";
/// It is this device's, and it never changes.
const CACHE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

pub(crate) async fn handle(State(app): State<App>, Path(sha256): Path<String>, request: Request) -> Response {
    // What the body of a GET says has no meaning.
    let (parts, _body) = request.into_parts();
    match answer(&app, &sha256, &parts).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(app: &App, sha256: &str, request: &Parts) -> Result<Response, Refusal> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
        return Ok(([(header::ALLOW, "GET, HEAD")], refusal).into_response());
    }
    let ctx = device(app, request).await?;
    let sha256: Sha256 = sha256.parse().map_err(|_bad| Refusal::no_such_artifact())?;
    let artifact = device_artifact(app, &ctx, sha256).await?;
    let tag = format!("\"{sha256}\"");
    let headers = &request.headers;
    let mut response = match condition::evaluate(headers, &tag) {
        Verdict::Failed => StatusCode::PRECONDITION_FAILED.into_response(),
        Verdict::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        // A range is defined for GET only (RFC 9110 §14.2).
        Verdict::Go if request.method == Method::HEAD => whole(Body::empty(), artifact.size),
        Verdict::Go => {
            let asked = asked(headers, &tag, artifact.size);
            content(app, artifact, asked).await?
        }
    };
    let fields = response.headers_mut();
    fields.insert(header::ETAG, HeaderValue::try_from(tag).expect("hexadecimal digits in quotes"));
    fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    fields.insert(header::CACHE_CONTROL, CACHE);
    Ok(response)
}

/// Who asks: a device that may come in, known by the certificate of its connection.
async fn device(app: &App, request: &Parts) -> Result<Ctx, Refusal> {
    let peer = request.extensions.get::<Peer>().filter(|peer| peer.leaf().is_some());
    let Some(peer) = peer else {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "connect with the device's certificate"));
    };
    let attempt = Attempt { address: peer.address.ip(), request_id: app.new_request_id() };
    let principal = admit_chain(app, &attempt, &peer.certificates).await?.principal();
    Ok(Ctx { principal, request_id: attempt.request_id, address: Some(attempt.address), idempotency: None })
}

/// What the Range header asks for, where it counts.
fn asked(headers: &HeaderMap, tag: &str, size: u64) -> Asked {
    // A field that comes twice is not the list that it would have to be.
    let mut lines = headers.get_all(header::RANGE).iter();
    match (lines.next().map(HeaderValue::to_str), lines.next()) {
        (Some(Ok(header)), None) if condition::range_counts(headers, tag) => range::parse(header, size),
        _ => Asked::Whole,
    }
}

async fn content(app: &App, artifact: Fetched, asked: Asked) -> Result<Response, Refusal> {
    let size = artifact.size;
    let parts = match asked {
        Asked::Whole => {
            let bytes = open_artifact(app, &artifact, 0..size).await?;
            return Ok(whole(Body::from_stream(bytes), size));
        }
        Asked::Nothing => {
            let field = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, field).into_response());
        }
        Asked::Parts(parts) => parts,
    };
    if let [part] = parts.as_slice() {
        let bytes = open_artifact(app, &artifact, part.clone()).await?;
        let mut response = whole(Body::from_stream(bytes), part.end - part.start);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let range = HeaderValue::try_from(content_range(part, size)).expect("digits");
        response.headers_mut().insert(header::CONTENT_RANGE, range);
        return Ok(response);
    }
    let media = format!("multipart/byteranges; boundary={}", multipart::boundary(&artifact));
    let length = multipart::length(&artifact, &parts);
    let mut response = whole(Body::from_stream(multipart::body(app.clone(), artifact, parts)), length);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let media = HeaderValue::try_from(media).expect("ASCII");
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    Ok(response)
}

fn whole(body: Body, length: u64) -> Response {
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    fields.insert(header::CONTENT_LENGTH, length.into());
    response
}

/// The value of Content-Range for a part that is not empty.
pub(crate) fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}
