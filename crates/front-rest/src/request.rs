//! The outermost layer: one request id, one set of header fields, one place where problems are written and panics end.
//!
//! The id is ours, never the caller's: it goes into the answer, the journal and every log line of the request, and a
//! caller who could choose it could forge those traces.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fleetward_base::{Clock, RequestId, Rng};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, header};
use tracing::Instrument;

use crate::problem::Problem;

/// The answer's header field with the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What every answer says besides its own fields. The API serves no page, so nothing may be framed, run or sniffed.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
    (header::CACHE_CONTROL, "no-store"),
];

/// What the layer needs to name requests.
#[derive(Clone)]
pub struct Naming {
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
}

/// Runs the rest and finishes its answer.
pub async fn serve(State(naming): State<Naming>, mut request: Request, next: Next) -> Response {
    let id = RequestId::generate(&*naming.clock, &*naming.rng);
    request.extensions_mut().insert(id);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("request", request_id = %id, %method, path);
    let started = naming.clock.monotonic();
    async move {
        let outcome = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = outcome.unwrap_or_else(|_| {
            tracing::error!(request_id = %id, "a handler panicked");
            Problem::internal().into_response()
        });
        let response = finish(response, &id.to_string());
        let took_ms = naming.clock.monotonic().saturating_sub(started).as_millis();
        tracing::debug!(request_id = %id, status = response.status().as_u16(), took_ms, "answered");
        response
    }
    .instrument(span)
    .await
}

fn finish(response: Response, id: &str) -> Response {
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) => {
            let mut written = problem.render(id);
            // What the router added, such as Allow, stays.
            for (name, value) in response.headers() {
                if !written.headers().contains_key(name) && name != header::CONTENT_LENGTH {
                    written.headers_mut().insert(name.clone(), value.clone());
                }
            }
            written
        }
        None => response,
    };
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.insert(REQUEST_ID, HeaderValue::try_from(id).expect("a UUID is visible ASCII"));
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use fleetward_base::{ManualClock, SeededRng, Timestamp};
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str) -> (Response, serde_json::Value) {
        let naming = Naming {
            clock: Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000))),
            rng: Arc::new(SeededRng::new(7)),
        };
        let panics: fn() -> std::future::Ready<&'static str> = || panic!("a secret");
        let router = Router::new()
            .route("/fine", get(|| async { "fine" }))
            .route("/refused", get(|| async { Problem::not_found("device") }))
            .route("/broken", get(panics))
            .layer(from_fn_with_state(naming, serve));
        let request = Request::builder().uri(path).header(REQUEST_ID, "forged").body(Body::empty()).expect("a request");
        let response = router.oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 65_536).await.expect("a body");
        let document = serde_json::from_slice(&bytes).unwrap_or_default();
        (Response::from_parts(parts, Body::empty()), document)
    }

    #[tokio::test]
    async fn a_problem_is_written_with_the_request_id() {
        let (response, document) = ask("/refused").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(document["request_id"], response.headers()[REQUEST_ID].to_str().expect("ASCII"));
        assert_ne!(response.headers()[REQUEST_ID], "forged");
        assert_eq!(document["type"], "https://fleetward.dev/problems/not-found");
        assert_eq!(document["detail"], "no such device");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing() {
        let (response, document) = ask("/broken").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!document.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn every_answer_has_the_fixed_fields() {
        for path in ["/fine", "/refused", "/broken"] {
            let (response, _) = ask(path).await;
            for (name, value) in ALWAYS {
                assert_eq!(response.headers()[&name], value, "{path} {name}");
            }
        }
    }
}
