//! Messages on topics, as operators publish them, and what is retained there.
//!
//! The line in the journal comes before the message, so that nothing is said to devices without a trace; the answer comes
//! after the commit. Payloads are not in the journal. Refused is a topic on which a service answers, on which the server
//! speaks to a device or that shows a record: what is asked there has an operation of its own, with its own right.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleetward_base::{TenantId, limits};
use fleetward_broker::Properties;
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_core::topic_policy::spoken_on;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::links::{PublishRefused, Retained, TopicMessage};
use crate::{App, Ctx, idempotency};

pub use fleetward_broker::Beside;

/// A content type, a name or a value beside a message.
const FIELD_BYTES: usize = 256;
const NOTHING_RETAINED: Error = Error::NotFound { what: "retained message" };

/// What is to be published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopicMessage {
    pub topic: String,
    pub payload: Bytes,
    /// 0 to 2.
    pub qos: u8,
    pub retain: bool,
    /// How long it is worth something; for good where there is none.
    pub expiry: Option<Duration>,
    pub beside: Beside,
}

/// It was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// How many sessions it is for.
    pub sessions: usize,
}

/// Publishes a message to whoever subscribes; with an empty payload and `retain` it clears the topic.
///
/// # Errors
/// `Invalid` with the field; `TooLarge`; `TooMany` where a queue or what is retained is full; `Unavailable` before the devices'
/// door is open.
pub async fn publish_message(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewTopicMessage) -> Result<Published> {
    ctx.allow(tenant, Permission::TopicPublish)?;
    let message = checked(new)?;
    let action = match message.retain && message.payload.is_empty() {
        true => Action::MessageCleared,
        false => Action::MessagePublished,
    };
    let detail = json!({ "bytes": message.payload.len(), "qos": message.qos, "retain": message.retain });
    say(app, ctx, tenant, action, detail, message).await
}

/// Takes away what is retained on a topic. Asking twice is harmless.
///
/// # Errors
/// `Invalid` (`topic`), `Unavailable`.
pub async fn clear_retained(app: &App, ctx: &Ctx, tenant: &TenantId, topic: &str) -> Result<()> {
    ctx.allow(tenant, Permission::TopicPublish)?;
    let new = NewTopicMessage { topic: topic.to_owned(), qos: 1, retain: true, ..NewTopicMessage::default() };
    let message = checked(new)?;
    if app.links().is_some_and(|links| links.retained(tenant, topic).is_none()) {
        return Ok(());
    }
    say(app, ctx, tenant, Action::MessageCleared, json!({}), message).await.map(drop)
}

/// What is retained on one topic.
///
/// # Errors
/// `NotFound`; `Unavailable` before the devices' door is open.
pub fn retained_message(app: &App, ctx: &Ctx, tenant: &TenantId, topic: &str) -> Result<Retained> {
    ctx.allow(tenant, Permission::TopicRead)?;
    app.links().ok_or(NO_DOOR)?.retained(tenant, topic).ok_or(NOTHING_RETAINED)
}

/// A page of what is retained, by topic, after `after`.
///
/// # Errors
/// `Unavailable` before the devices' door is open.
pub fn retained_messages(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<Retained>> {
    ctx.allow(tenant, Permission::TopicRead)?;
    let limit = usize::try_from(limit.clamp(1, limits::PAGE_ROWS + 1)).unwrap_or(1);
    Ok(app.links().ok_or(NO_DOOR)?.all_retained(tenant, after.unwrap_or_default(), limit))
}

const NO_DOOR: Error = Error::Unavailable { what: "the devices' door" };

async fn say(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    action: Action,
    detail: serde_json::Value,
    message: TopicMessage,
) -> Result<Published> {
    let links = Arc::clone(app.links().ok_or(NO_DOOR)?);
    let (app, ctx, tenant) = (app.clone(), ctx.clone(), tenant.clone());
    let whole = app.clone();
    // Where the journal says that it was published, it is, also when the caller has hung up.
    let said = whole.see_through(async move {
        let (app_in, ctx_in, now, topic) = (app.clone(), ctx.clone(), app.now(), message.topic.clone());
        let before = app.write(&tenant, "publish message", move |tx| {
            Box::pin(async move {
                // A tenant that is not there has no journal to write in.
                tx.own_tenant().await?.ok_or(Error::NotFound { what: "tenant" })?;
                if let Some(before) = idempotency::replay::<Published>(&app_in, tx, &ctx_in).await? {
                    return Ok(Some(before));
                }
                record(tx, &ctx_in.done(now, action).subject(&topic).detail(detail)).await?;
                Ok(None)
            })
        });
        if let Some(before) = before.await? {
            return Ok(before);
        }
        let sessions = links.publish_to_topic(&tenant, message).await.map_err(refused)?;
        let published = Published { sessions };
        if ctx.idempotency.is_some() {
            // Kept after it was said: between the two, a caller that asks again says it again, and nothing is lost.
            let (app_in, ctx_in) = (app.clone(), ctx.clone());
            let kept = app.write(&tenant, "message published", move |tx| {
                Box::pin(async move { idempotency::keep(&app_in, tx, &ctx_in, &published).await })
            });
            kept.await?;
        }
        Ok::<_, Error>(published)
    });
    said.await
}

/// The message, in bounds.
fn checked(new: NewTopicMessage) -> Result<TopicMessage> {
    let NewTopicMessage { topic, payload, qos, retain, expiry, beside } = new;
    if !fleetward_broker::is_name(&topic) {
        let rule = format!("a topic name of at most {} bytes, without wildcards", limits::MQTT_TOPIC_BYTES);
        return Err(Error::invalid("topic", rule));
    }
    if topic.starts_with('$') || spoken_on(&topic).is_some() {
        return Err(not_here());
    }
    if payload.len() > limits::MQTT_PAYLOAD_BYTES {
        return Err(Error::TooLarge { what: "the message", limit: limits::MQTT_PAYLOAD_BYTES as u64 });
    }
    if qos > 2 {
        return Err(Error::invalid("qos", "0, 1 or 2"));
    }
    if expiry.is_some_and(|span| span.is_zero() || span > limits::MESSAGE_EXPIRY) {
        return Err(Error::invalid("ttl_s", format!("1 to {} seconds", limits::MESSAGE_EXPIRY.as_secs())));
    }
    if beside.utf8 && std::str::from_utf8(&payload).is_err() {
        return Err(Error::invalid("utf8", "the payload is no text in UTF-8"));
    }
    if let Some(content_type) = &beside.content_type {
        check_line("content_type", content_type, FIELD_BYTES)?;
    }
    if beside.response_topic.as_ref().is_some_and(|topic| !fleetward_broker::is_name(topic)) {
        return Err(Error::invalid("response_topic", "a topic name, without wildcards"));
    }
    for (name, value) in &beside.user {
        if [name, value].iter().any(|text| text.len() > FIELD_BYTES || text.chars().any(char::is_control)) {
            let rule = format!("names and values of at most {FIELD_BYTES} bytes, without control characters");
            return Err(Error::invalid("properties", rule));
        }
    }
    let properties = Properties::of(&beside).map_err(|long| Error::invalid("properties", long.to_string()))?;
    Ok(TopicMessage { topic, payload, qos, retain, expiry, properties })
}

fn not_here() -> Error {
    Error::invalid("topic", "a service answers there; what is asked of it has an operation of its own")
}

fn refused(refused: PublishRefused) -> Error {
    match refused {
        PublishRefused::NotAuthorized => not_here(),
        PublishRefused::TopicInvalid => Error::invalid("topic", refused.to_string()),
        PublishRefused::PayloadInvalid => Error::invalid("payload", refused.to_string()),
        PublishRefused::TooLarge => Error::TooLarge { what: "the message", limit: limits::MQTT_PAYLOAD_BYTES as u64 },
        PublishRefused::Quota => {
            Error::TooMany { what: "messages wait or are retained", retry_after: Duration::from_secs(60) }
        }
        PublishRefused::Unavailable => NO_DOOR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_speaks_for_the_server() {
        let taken = |topic: &str| checked(NewTopicMessage { topic: topic.to_owned(), ..NewTopicMessage::default() });
        for topic in [
            "$aws/things/gw-1/shadow/update",
            "devices/gw-1/config/rejected",
            "devices/gw-1/config/desired",
            "devices/gw-1/messages/devicebound/x",
            "devices/gw-1/identity/renew",
            "devices/gw-1/identity",
        ] {
            assert!(matches!(taken(topic), Err(Error::Invalid { .. })), "{topic}");
        }
        for topic in ["plants/1", "devices/gw-1/telemetry", "devices/gw-1", "x/devices/gw-1/config/desired"] {
            assert!(taken(topic).is_ok(), "{topic}");
        }
    }
}
