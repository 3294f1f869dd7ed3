//! Whether the server is there and ready, and the API's description. They need no token and tell nothing else.

use std::sync::LazyLock;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

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

/// `GET /v1/openapi.json`
pub(crate) async fn openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(openapi::text);
    let mut response = TEXT.as_str().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
