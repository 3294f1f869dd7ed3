//! The AWS data plane over HTTPS on the devices' door: `GET`, `POST` and `DELETE /things/{thing}/shadow[?name=]`, the list of
//! a thing's named shadows, and messages ([`publish`]).
//!
//! The client certificate says who asks, for each request anew. Answers and refusals have AWS's bodies, and refusals the
//! `x-amzn-ErrorType` from which its clients make their exceptions. Updates still publish `delta` and `documents`; a
//! refusal over HTTPS publishes nothing. A connection has ten requests on shadows at work at once, whether by streams of HTTP/2
//! or one after the other; what is above that gets 429, as over MQTT.

mod publish;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fleetward_app::enroll::{Attempt, admit_chain};
use fleetward_app::shadow::{self, ShadowError, ShadowKey, Via};
use fleetward_app::{App, Ctx, Peer};
use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::shadow::Refused;
use fleetward_wire::aws::client_token;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::body::read;
use crate::listing::read_query;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// Names on one page, as AWS has it: by default, and at most.
const NAMES: u32 = 25;
const NAMES_MAX: u32 = 100;

/// The routes. Requests carry the [`Peer`] of their connection and its [`AtWork`] as extensions.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/things/{thing}/shadow", get(show).post(update).delete(delete))
        .route("/api/things/shadow/ListNamedShadowsForThing/{thing}", get(names))
        .route_layer(from_fn_with_state(app.clone(), bounded))
        .route("/topics/{*topic}", post(publish::publish))
        .route("/retainedMessage", get(publish::list))
        .route("/retainedMessage/{*topic}", get(publish::show))
        .with_state(app)
}

/// Requests on shadows that are at work for one connection; whoever serves connections gives each its own, as an extension.
#[derive(Clone, Debug)]
pub struct AtWork(Arc<Semaphore>);

impl Default for AtWork {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::SERVICE_REQUESTS_IN_FLIGHT)))
    }
}

async fn bounded(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(AtWork(places)) = request.extensions().get::<AtWork>().cloned() else { return next.run(request).await };
    let Ok(place) = places.try_acquire_owned() else { return answer(&app, Err(Refused::TooManyRequests), None) };
    let response = next.run(request).await;
    drop(place);
    response
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Which {
    name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[serde(rename_all = "camelCase")]
struct Paging {
    page_size: Option<u32>,
    next_token: Option<String>,
}

async fn show(State(app): State<App>, Path(thing): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let outcome = async {
        let (ctx, tenant) = device(&app, &parts).await?;
        let view = shadow::get(&app, &ctx, &tenant, &key(&thing, &parts)?).await.map_err(ShadowError::refused)?;
        Ok(shadow::view_body(&view, app.now(), None))
    };
    answer(&app, outcome.await, None)
}

async fn update(State(app): State<App>, Path(thing): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (outcome, token) = match payload(&app, &parts, body).await {
        Err(refused) => (Err(refused), None),
        Ok((ctx, tenant, payload)) => {
            let outcome = async {
                let key = key(&thing, &parts)?;
                let applied = shadow::update(&app, &ctx, &tenant, &key, &payload, Via::Call).await;
                Ok(shadow::accepted_body(&applied.map_err(ShadowError::refused)?))
            };
            (outcome.await, client_token(&payload))
        }
    };
    answer(&app, outcome, token)
}

async fn delete(State(app): State<App>, Path(thing): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let outcome = async {
        let (ctx, tenant) = device(&app, &parts).await?;
        let key = key(&thing, &parts)?;
        let deleted = shadow::delete(&app, &ctx, &tenant, &key, None, Via::Call).await;
        Ok(shadow::deleted_body(&deleted.map_err(ShadowError::refused)?, None))
    };
    answer(&app, outcome.await, None)
}

async fn names(State(app): State<App>, Path(thing): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let outcome = async {
        let (ctx, tenant) = device(&app, &parts).await?;
        let thing: DeviceId = thing.parse().map_err(|_| Refused::NoThing)?;
        let paging: Paging = read_query(parts.uri.query().unwrap_or_default()).unwrap_or_default();
        let limit = paging.page_size.unwrap_or(NAMES).clamp(1, NAMES_MAX);
        let after =
            paging.next_token.and_then(|token| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok());
        let found = shadow::names(&app, &ctx, &tenant, &thing, after, limit.saturating_add(1)).await;
        let mut found = found.map_err(ShadowError::refused)?;
        let rows = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = found.len() > rows;
        found.truncate(rows);
        let mut body = json!({ "results": found, "timestamp": app.now().secs() });
        if let (true, Some(last), Some(fields)) = (more, found.last(), body.as_object_mut()) {
            fields.insert("nextToken".to_owned(), json!(BASE64_URL_SAFE_NO_PAD.encode(last)));
        }
        Ok(body.to_string().into_bytes())
    };
    answer(&app, outcome.await, None)
}

/// The device that the connection's certificate names, if it may come in.
async fn device(app: &App, parts: &Parts) -> Result<(Ctx, TenantId), Refused> {
    let peer = parts.extensions.get::<Peer>().ok_or(Refused::Internal)?;
    peer.leaf().ok_or(Refused::Unauthorized)?;
    let address: IpAddr = peer.address.ip();
    let attempt = Attempt { address, request_id: app.new_request_id() };
    let admitted = admit_chain(app, &attempt, &peer.certificates).await;
    let admitted = admitted.map_err(|error| ShadowError::from(error).refused())?;
    let tenant = admitted.tenant.clone();
    let principal = admitted.principal();
    Ok((Ctx { principal, request_id: attempt.request_id, address: Some(address), idempotency: None }, tenant))
}

async fn payload(app: &App, parts: &Parts, body: Body) -> Result<(Ctx, TenantId, bytes::Bytes), Refused> {
    let (ctx, tenant) = device(app, parts).await?;
    let payload = read(&parts.headers, body, limits::MQTT_PAYLOAD_BYTES).await.map_err(|problem| {
        if problem.status == StatusCode::PAYLOAD_TOO_LARGE { Refused::TooLarge } else { Refused::InvalidJson }
    })?;
    Ok((ctx, tenant, payload))
}

fn key(thing: &str, parts: &Parts) -> Result<ShadowKey, Refused> {
    let device: DeviceId = thing.parse().map_err(|_| Refused::NoThing)?;
    // AWS ignores parameters that it does not know.
    let Which { name } = read_query(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    let Some(name) = name else { return Ok(ShadowKey::classic(device)) };
    if crate::routes::shadow::is_name(&name) {
        return Ok(ShadowKey { device, name });
    }
    Err(Refused::NoShadow { name: format!("{device}~{name}") })
}

fn answer(app: &App, outcome: Result<Vec<u8>, Refused>, token: Option<String>) -> Response {
    match outcome {
        Ok(body) => respond(app, StatusCode::OK, body, None),
        Err(refused) => {
            let status = StatusCode::from_u16(refused.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = shadow::refused_body(&refused, app.now(), token);
            respond(app, status, body, Some(refused.error_type()))
        }
    }
}

fn respond(app: &App, status: StatusCode, body: Vec<u8>, error_type: Option<&'static str>) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::try_from(app.new_request_id().to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(kind) = error_type {
        headers.insert(ERROR_TYPE, HeaderValue::from_static(kind));
    }
    response
}
