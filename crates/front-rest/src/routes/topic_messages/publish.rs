//! `POST /v1/tenants/{tenant}/messages`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleetward_app::topic_messages::{Beside, NewTopicMessage, publish_message};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Property;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;

/// A message to be published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PublishMessage, example = json!({ "topic": "site/berlin/mode", "payload": "night", "retain": true }))]
pub(super) struct Body {
    topic: String,
    /// Text. Bytes go into `payload_base64`. Nothing at all, with `retain`, clears the topic.
    payload: Option<String>,
    payload_base64: Option<String>,
    /// 0 to 2; 1 where it is absent.
    qos: Option<u8>,
    /// Keep it for whoever subscribes later.
    #[serde(default)]
    retain: bool,
    /// How long it is worth something; for good where it is absent.
    ttl_s: Option<u64>,
    /// Say beside it that it is text in UTF-8.
    #[serde(default)]
    utf8: bool,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation_base64: Option<String>,
    #[serde(default)]
    properties: Vec<Property>,
}

/// It was taken.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessagePublished)]
pub(super) struct View {
    /// For how many sessions it is, connected or not.
    sessions: usize,
}

/// Publish a message to a topic
///
/// To every device of the tenant that subscribes. A topic on which a service answers is refused: what is asked there has a
/// route of its own.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/messages",
    operation_id = "publish_message",
    tag = "state",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("topic:publish"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Answer<View>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { topic, payload, payload_base64, qos, retain, ttl_s, utf8, .. } = body.value;
    let Body { content_type, response_topic, correlation_base64, properties, .. } = body.value;
    let bytes =
        |field, text: String| STANDARD.decode(text).map(Bytes::from).map_err(|_| Problem::invalid(field, "not base64"));
    let payload = match (payload, payload_base64) {
        (Some(_), Some(_)) => return Err(Problem::invalid("payload", "either this or payload_base64")),
        (None, Some(text)) => bytes("payload_base64", text)?,
        (text, None) => Bytes::from(text.unwrap_or_default()),
    };
    let correlation = correlation_base64.map(|text| bytes("correlation_base64", text)).transpose()?;
    let user = properties.into_iter().map(|Property { name, value }| (name, value)).collect();
    let beside = Beside { utf8, content_type, response_topic, correlation, user };
    let expiry = ttl_s.map(Duration::from_secs);
    let new = NewTopicMessage { topic, payload, qos: qos.unwrap_or(1), retain, expiry, beside };
    let published = publish_message(door.app(), &ctx, &tenant, new).await?;
    Ok(Answer(View { sessions: published.sessions }))
}
