//! Messages on topics, and what is retained there.

mod clear;
mod list;
mod publish;
mod show;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::Retained;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::Time;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(publish::handler))
        .routes(routes!(list::handler))
        .routes(routes!(show::handler, clear::handler))
}

/// A name and a value beside a message. A name may come more than once.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MessageProperty)]
struct Property {
    name: String,
    value: String,
}

/// A message that is retained on a topic.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetainedMessage)]
struct RetainedView {
    topic: String,
    /// Where the payload is text.
    payload: Option<String>,
    payload_base64: String,
    qos: u8,
    retained_at: Time,
    /// Absent where it stays until something takes its place.
    expires_at: Option<Time>,
    /// Whoever published it says that it is text in UTF-8.
    utf8: bool,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation_base64: Option<String>,
    properties: Vec<Property>,
}

impl From<Retained> for RetainedView {
    fn from(found: Retained) -> Self {
        let Retained { topic, payload, qos, stored_at, expires_at, beside } = found;
        Self {
            topic,
            payload: std::str::from_utf8(&payload).ok().map(str::to_owned),
            payload_base64: STANDARD.encode(&payload),
            qos,
            retained_at: Time(stored_at),
            expires_at: expires_at.map(Time),
            utf8: beside.utf8,
            content_type: beside.content_type,
            response_topic: beside.response_topic,
            correlation_base64: beside.correlation.map(|bytes| STANDARD.encode(bytes)),
            properties: beside.user.into_iter().map(|(name, value)| Property { name, value }).collect(),
        }
    }
}
