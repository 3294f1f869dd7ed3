//! Whether the server is there and ready, and the API's description. They need no token and tell nothing else.

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use fleetward_app::doctor::{Verdict, examine};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::door::Door;
use crate::openapi;
use crate::problem::Problem;

/// `GET /healthz`: the program runs.
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the store answers.
pub(crate) async fn readyz(State(door): State<Door>) -> Result<&'static str, Problem> {
    door.app().ready().await?;
    Ok("ready\n")
}

/// `GET /healthz/deep`: what an examination found, without its details. It is made at most once in some seconds, however often
/// somebody asks.
pub(crate) async fn deep(State(door): State<Door>) -> Response {
    let report = examine(door.app()).await;
    let checks = report.checks.iter().map(|check| (check.name.to_owned(), check.verdict.as_str().into()));
    let body = json!({ "verdict": report.verdict().as_str(), "checks": Value::Object(checks.collect()) });
    let status = if report.verdict() == Verdict::Fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

/// `GET /v1/openapi.json`
pub(crate) async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(openapi::text);
    let mut response = TEXT.as_str().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
