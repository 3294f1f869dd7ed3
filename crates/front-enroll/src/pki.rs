//! What anybody may fetch of our authorities (RFC 5280 §4.2.1.13, RFC 6960 appendix A): on the devices' HTTPS port, and on a
//! port without TLS where there is one, since those who check certificates fetch such things over plain HTTP.
//!
//! ```text
//! GET  /pki/{ca}/ca.der           the authority's certificate
//! GET  /pki/{ca}/crl.der          its whole list of revoked certificates
//! GET  /pki/{ca}/crl/{shard}.der  a shard of it
//! GET  /pki/{ca}/ocsp/{request}   base64 of a request; base64 may hold slashes, so the raw rest of the path is it
//! POST /pki/{ca}/ocsp
//! ```
//! Everything is signed, so nobody has to sign in, and nothing but what is signed is told.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::publication::{self, SignedList, ocsp};
use fleetward_app::{App, Error};
use fleetward_base::{Timestamp, limits};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;

use crate::body;
use crate::refusal::Refusal;
use crate::served::{self, Served};

/// How long a cache keeps a list at most: a revocation shows no later than this.
const LIST_CACHED_SECS: i64 = 300;
/// An authority's certificate never changes.
const AUTHORITY_CACHED: &str = "public, max-age=86400";
const OCSP_RESPONSE: &str = "application/ocsp-response";

/// The routes.
pub fn router(app: App) -> Router {
    served::router(served()).with_state(app)
}

pub(crate) fn served() -> [Served; 5] {
    [
        Served::new(&["GET"], "/pki/{ca}/ca.der", get(certificate)),
        Served::new(&["GET"], "/pki/{ca}/crl.der", get(whole_list)),
        Served::new(&["GET"], "/pki/{ca}/crl/{shard}", get(shard)),
        Served::new(&["POST"], "/pki/{ca}/ocsp", post(ocsp_post)),
        Served::new(&["GET"], "/pki/{ca}/ocsp/{*request}", get(ocsp_get)),
    ]
}

async fn certificate(State(app): State<App>, Path(ca): Path<String>) -> Response {
    match publication::authority(&app, &ca).await {
        Ok(ca) => {
            let mut response = ca.certificate.der.clone().into_response();
            put(&mut response, CONTENT_TYPE, "application/pkix-cert");
            put(&mut response, CACHE_CONTROL, AUTHORITY_CACHED);
            response
        }
        Err(error) => Refusal::from(error).into_response(),
    }
}

async fn whole_list(State(app): State<App>, Path(ca): Path<String>, headers: HeaderMap) -> Response {
    answer_list(&app, &headers, publication::list(&app, &ca, None).await)
}

async fn shard(State(app): State<App>, Path((ca, file)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let found = match file.strip_suffix(".der") {
        Some(shard) => publication::list(&app, &ca, Some(shard)).await,
        None => Err(Error::NotFound { what: "list" }),
    };
    answer_list(&app, &headers, found)
}

fn answer_list(app: &App, headers: &HeaderMap, found: Result<SignedList, Error>) -> Response {
    let list = match found {
        Ok(list) => list,
        Err(error) => return Refusal::from(error).into_response(),
    };
    let tag = format!("\"{}\"", list.number);
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|value| value.split(',')).any(|one| matches!(one.trim(), "*") || one.trim() == tag);
    let left = (list.next_update.secs() - app.now().secs()).clamp(0, LIST_CACHED_SECS);
    let mut response =
        if unchanged { StatusCode::NOT_MODIFIED.into_response() } else { list.der.clone().into_response() };
    put(&mut response, ETAG, &tag);
    put(&mut response, CACHE_CONTROL, &format!("public, max-age={left}, must-revalidate"));
    put(&mut response, LAST_MODIFIED, &http_date(list.this_update));
    put(&mut response, EXPIRES, &http_date(list.next_update));
    if !unchanged {
        put(&mut response, CONTENT_TYPE, "application/pkix-crl");
    }
    response
}

async fn ocsp_post(State(app): State<App>, Path(ca): Path<String>, request: Request) -> Response {
    let (head, stream) = request.into_parts();
    let body = match body::read_within(&head.headers, stream, limits::OCSP_REQUEST_BYTES).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    if !body::is_of(&head.headers, "application/ocsp-request") {
        let refusal = Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send an application/ocsp-request");
        return refusal.into_response();
    }
    answer_ocsp(&ocsp::answer(&app, &ca, &body).await, false, app.now())
}

/// RFC 6960 appendix A.1: url-encoded base64 of the request. The path is taken as it came: what a router makes of its slashes
/// would not be base64 any more (some clients send them as they are, and two of them in a row).
async fn ocsp_get(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path().strip_prefix("/pki/").unwrap_or_default();
    let (ca, raw) = path.split_once("/ocsp/").unwrap_or_default();
    let der = percent_decode_str(raw).decode_utf8().ok().and_then(|text| STANDARD.decode(text.as_bytes()).ok());
    // What is no base64 is no request either, and is answered like one.
    let answer = ocsp::answer(&app, ca, &der.unwrap_or_default()).await;
    answer_ocsp(&answer, true, app.now())
}

/// Headers of RFC 5019 §6.2 where a cache may keep it.
fn answer_ocsp(answer: &ocsp::Answer, may_cache: bool, now: Timestamp) -> Response {
    let mut response = answer.der.to_vec().into_response();
    put(&mut response, CONTENT_TYPE, OCSP_RESPONSE);
    match answer.counts.filter(|_| may_cache) {
        Some((from, until)) => {
            let left = (until.secs() - now.secs()).clamp(0, LIST_CACHED_SECS);
            put(&mut response, CACHE_CONTROL, &format!("public, max-age={left}, no-transform, must-revalidate"));
            put(&mut response, LAST_MODIFIED, &http_date(from));
            put(&mut response, EXPIRES, &http_date(until));
        }
        None => put(&mut response, CACHE_CONTROL, "no-store"),
    }
    response
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// An HTTP-date (RFC 9110 §5.6.7).
fn http_date(at: Timestamp) -> String {
    let secs = u64::try_from(at.secs()).unwrap_or(0);
    httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(secs))
}
