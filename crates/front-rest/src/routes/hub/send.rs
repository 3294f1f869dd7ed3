//! `POST /v1/tenants/{tenant}/devices/{device}/messages`

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleetward_app::hub::{NewMessage, send_message};
use fleetward_base::DeviceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// A message to a device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SendMessage, example = json!({ "payload": "open the valve", "properties": { "level": "2" }, "ttl_s": 3600 }))]
pub(super) struct Body {
    /// Text. Bytes go into `payload_base64`.
    #[serde(default)]
    payload: Option<String>,
    #[serde(default)]
    payload_base64: Option<String>,
    /// Of your own, beside the message.
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    message_id: Option<String>,
    #[serde(default)]
    correlation_id: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    content_encoding: Option<String>,
    /// How long it waits for the device: an hour where it is absent, 48 hours at most.
    #[serde(default)]
    ttl_s: Option<u64>,
}

/// It is with the device, or in its queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessageSent)]
pub(super) struct View {
    message_id: String,
    /// Whether the device was connected then.
    connected: bool,
}

/// Send a message to a device
///
/// It waits in the queue of the device's session while the device is away. A device that has no session which subscribes to
/// messages gets none: 409.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/messages",
    operation_id = "send_message",
    tag = "state",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("message:publish"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    body: Json<Body>,
) -> Result<Answer<View>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { payload, payload_base64, properties, message_id, correlation_id, content_type, content_encoding, ttl_s } =
        body.value;
    let payload = match (payload, payload_base64) {
        (Some(_), Some(_)) => return Err(Problem::invalid("payload", "either this or payload_base64")),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|_| Problem::invalid("payload_base64", "not base64"))?.into()
        }
        (text, None) => Bytes::from(text.unwrap_or_default()),
    };
    let ttl = ttl_s.map(Duration::from_secs);
    let new = NewMessage { payload, properties, message_id, correlation_id, content_type, content_encoding, ttl };
    let sent = send_message(door.app(), &ctx, &tenant, &id, new).await?;
    Ok(Answer(View { message_id: sent.message_id, connected: sent.connected }))
}
