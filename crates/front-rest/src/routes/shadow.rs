//! The state of a device, in the shapes of the AWS shadow service.

mod delete;
mod history;
mod reassert;
mod show;
mod update;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use fleetward_app::Error;
use fleetward_app::shadow::{ShadowError, ShadowKey};
use fleetward_base::DeviceId;
use http::request::Parts;
use http::{HeaderValue, header};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::tag;
use crate::listing::read_query;
use crate::path::At;
use crate::problem::Problem;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(show::handler, update::handler, delete::handler))
        .routes(routes!(history::handler))
        .routes(routes!(reassert::handler))
}

impl From<ShadowError> for Problem {
    fn from(error: ShadowError) -> Self {
        Error::from(error).into()
    }
}

/// Which of a device's shadows.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Name {
    /// 1 to 64 of a-z, A-Z, 0-9, :, _, - and $; absent for the classic shadow
    name: Option<String>,
}

/// The shadow that the path and the query name.
pub(crate) struct Which(pub(crate) ShadowKey);

impl<S: Send + Sync> FromRequestParts<S> for Which {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let At(device) = At::<DeviceId>::from_request_parts(parts, state).await?;
        let Name { name } = read_query(parts.uri.query().unwrap_or_default())?;
        key(device, name).map(Self)
    }
}

fn key(device: DeviceId, name: Option<String>) -> Result<ShadowKey, Problem> {
    let Some(name) = name else { return Ok(ShadowKey::classic(device)) };
    if !is_name(&name) {
        return Err(Problem::invalid("name", "1 to 64 of a-z, A-Z, 0-9, :, _, - and $"));
    }
    Ok(ShadowKey { device, name })
}

/// Whether a shadow can be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-' | b'$');
    (1..=64).contains(&name.len()) && name.bytes().all(good)
}

/// A body that is JSON already, with the version as its tag.
fn answer(body: Vec<u8>, version: u64) -> Response {
    let mut response = Body::from(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ETAG, tag(version));
    response
}
