//! Messages on topics, as operators publish them by the data plane, and what is retained there. A device with its certificate
//! reaches the same paths by `front-rest`, for its own topics.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use fleetward_app::Retained;
use fleetward_app::topic_messages::{Beside, NewTopicMessage, publish_message, retained_message, retained_messages};
use fleetward_wire::aws::message::{BadUserProperties, format_user_properties, parse_user_properties};
use serde_json::json;

use crate::answer::{Answer, Refusal};
use crate::call::Call;

const USER_PROPERTIES: &str = "x-amz-mqtt5-user-properties";
const FORMAT: &str = "x-amz-mqtt5-payload-format-indicator";
const CORRELATION: &str = "x-amz-mqtt5-correlation-data";

pub(super) async fn publish(call: &Call<'_>) -> Result<Answer, Refusal> {
    let qos = match call.number("qos")? {
        None | Some(0) => 0,
        Some(1) => 1,
        Some(_) => return Err(Refusal::invalid("qos must be 0 or 1")),
    };
    let utf8 = match call.header(FORMAT) {
        None | Some("UNSPECIFIED_BYTES") => false,
        Some("UTF8_DATA") => true,
        Some(_) => return Err(Refusal::invalid("payloadFormatIndicator must be UNSPECIFIED_BYTES or UTF8_DATA")),
    };
    let user = call.header(USER_PROPERTIES).map(user_properties).transpose();
    let correlation = call.header(CORRELATION).map(|text| BASE64_STANDARD.decode(text)).transpose();
    let beside = Beside {
        utf8,
        content_type: call.query("contentType").map(str::to_owned),
        response_topic: call.query("responseTopic").map(str::to_owned),
        correlation: correlation.map_err(|_| Refusal::invalid("correlationData must be base64"))?.map(Bytes::from),
        user: user.map_err(|bad| Refusal::invalid(format!("userProperties: {bad}")))?.unwrap_or_default(),
    };
    let new = NewTopicMessage {
        topic: call.path("topic").to_owned(),
        payload: call.payload(),
        qos,
        retain: call.flag("retain")?.unwrap_or(false),
        expiry: call.number("messageExpiry")?.map(Duration::from_secs),
        beside,
    };
    publish_message(call.app(), &call.ctx, &call.tenant, new).await?;
    Ok(Answer::Json(json!({ "message": "OK", "traceId": call.ctx.request_id.to_string() })))
}

/// The properties in the header field. A client that was given them as a text has made JSON of that text once more.
fn user_properties(text: &str) -> Result<Vec<(String, String)>, BadUserProperties> {
    parse_user_properties(text).or_else(|bad| {
        let json = BASE64_STANDARD.decode(text).map_err(|_| bad)?;
        let inner: String = serde_json::from_slice(&json).map_err(|_| bad)?;
        parse_user_properties(&BASE64_STANDARD.encode(inner))
    })
}

pub(super) async fn show(call: &Call<'_>) -> Result<Answer, Refusal> {
    let found = retained_message(call.app(), &call.ctx, &call.tenant, call.path("topic"))?;
    let mut view = json!({
        "topic": found.topic,
        "payload": BASE64_STANDARD.encode(&found.payload),
        "qos": found.qos.min(1),
        "lastModifiedTime": found.stored_at.millis(),
    });
    if let (false, Some(fields)) = (found.beside.user.is_empty(), view.as_object_mut()) {
        fields.insert("userProperties".to_owned(), json!(format_user_properties(&found.beside.user)));
    }
    Ok(Answer::Json(view))
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answer, Refusal> {
    let paging = call.paging("maxResults", "nextToken", 200)?;
    let (after, rows) = (paging.after.as_deref(), paging.rows_and_one());
    let found = retained_messages(call.app(), &call.ctx, &call.tenant, after, rows)?;
    let view = |it: Retained| {
        json!({
            "topic": it.topic,
            "payloadSize": it.payload.len(),
            "qos": it.qos.min(1),
            "lastModifiedTime": it.stored_at.millis(),
        })
    };
    Ok(call.page(&paging, ("retainedTopics", "nextToken"), found, |it| it.topic.clone(), view))
}
