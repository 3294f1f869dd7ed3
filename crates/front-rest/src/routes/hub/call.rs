//! `POST /v1/tenants/{tenant}/devices/{device}/methods/{method}`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::hub::{NewCall, Outcome, call_method};
use fleetward_base::DeviceId;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, MethodName};
use crate::problem::Problem;

/// What the device is to do it with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CallMethod, example = json!({ "payload": { "delay_s": 5 }, "timeout_s": 30 }))]
pub(super) struct Body {
    /// Any JSON; `null` where it is absent.
    #[serde(default)]
    payload: Value,
    /// How long the device may take to answer: 30 seconds where it is absent, 300 at most.
    #[serde(default)]
    timeout_s: Option<u64>,
}

/// What the device said.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MethodAnswer)]
pub(super) struct View {
    /// The device's own number.
    status: i32,
    /// What came with it.
    payload: Value,
    /// What came with it, where that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

/// Call a method of a device that is connected
///
/// 404 where it is not, or takes no calls; 504 where it does not answer in time, and may have done it all the same.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/methods/{method}",
    operation_id = "call_method",
    tag = "state",
    params(("tenant" = String, Path), ("device" = String, Path), ("method" = String, Path)),
    request_body = Body,
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("method:call"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    At(MethodName(name)): At<MethodName>,
    body: Json<Body>,
) -> Result<Answer<View>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { payload, timeout_s } = body.value;
    let new = NewCall { name, payload, deadline: timeout_s.map(Duration::from_secs) };
    match call_method(door.app(), &ctx, &tenant, &id, new).await? {
        Outcome::Answered { status, payload } => Ok(Answer(view(status, &payload))),
        Outcome::Silent => Err(Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            "no-answer",
            "The device did not answer in time",
            "the device has the call; whether it did anything is not known",
        )),
    }
}

/// Some devices answer with nothing, which is JSON's `null`.
fn view(status: i32, payload: &[u8]) -> View {
    match serde_json::from_slice(payload) {
        Ok(payload) => View { status, payload, payload_base64: None },
        Err(_) if payload.is_empty() => View { status, payload: Value::Null, payload_base64: None },
        Err(_) => View { status, payload: Value::Null, payload_base64: Some(STANDARD.encode(payload)) },
    }
}
