//! Messages to a device: they wait in its queue while it is away, until they are stale.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_wire::azure::hub::{Properties, Way, messages};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx, idempotency};

/// The longest name, and the longest text, of what stands beside a message.
const FIELD_BYTES: usize = 256;

/// What a device is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewMessage {
    pub payload: Bytes,
    /// Of the sender's own.
    pub properties: BTreeMap<String, String>,
    /// The id of the request where there is none.
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    /// How long it waits for the device; the default where there is none.
    pub ttl: Option<Duration>,
}

/// The device has it, or its queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub message_id: String,
    /// The device was connected then.
    pub connected: bool,
}

/// Sends a message to a device whose session takes such, connected or not.
///
/// # Errors
/// `Invalid`, `TooLarge`; `NotFound`; `Conflict` (`nobody-listens`) where the device has no session that subscribes to messages;
/// `TooMany` where its queue is full.
pub async fn send_message(app: &App, ctx: &Ctx, tenant: &TenantId, id: &DeviceId, new: NewMessage) -> Result<Sent> {
    ctx.allow(tenant, Permission::MessagePublish)?;
    if new.payload.len() > limits::HUB_MESSAGE_BYTES {
        return Err(Error::TooLarge { what: "the message", limit: limits::HUB_MESSAGE_BYTES as u64 });
    }
    let ttl = new.ttl.unwrap_or(limits::HUB_MESSAGE_TTL_DEFAULT);
    if ttl < Duration::from_secs(1) || ttl > limits::HUB_MESSAGE_TTL {
        let most = limits::HUB_MESSAGE_TTL.as_secs();
        return Err(Error::invalid("ttl_s", format!("1 to {most} seconds")));
    }
    let message_id = new.message_id.clone().unwrap_or_else(|| ctx.request_id.to_string());
    let topic = messages(id.as_str(), Way::Devicebound, &properties(app, id, &new, &message_id, ttl)?);
    if topic.len() > limits::MQTT_PROPERTIES_TOPIC_BYTES {
        let most = limits::MQTT_PROPERTIES_TOPIC_BYTES;
        return Err(Error::invalid("properties", format!("at most {most} bytes, as they are sent")));
    }
    let (app_in, ctx_in, tenant, id) = (app.clone(), ctx.clone(), tenant.clone(), id.clone());
    let message = Message { message_id, topic, payload: new.payload, ttl };
    // What the journal says was sent is sent, whoever waits for it.
    app.see_through(async move { hand_over(&app_in, &ctx_in, &tenant, &id, message).await }).await
}

struct Message {
    message_id: String,
    topic: String,
    payload: Bytes,
    ttl: Duration,
}

async fn hand_over(app: &App, ctx: &Ctx, tenant: &TenantId, id: &DeviceId, message: Message) -> Result<Sent> {
    let Message { message_id, topic, payload, ttl } = message;
    let links = app.links();
    let listens = links.and_then(|links| links.listens(tenant, id, &topic));
    let (app_in, ctx_in, id_in, now) = (app.clone(), ctx.clone(), id.clone(), app.now());
    let detail = json!({ "message": message_id, "bytes": payload.len(), "to": "devicebound" });
    let sent = app
        .write(tenant, "send message", move |tx| {
            Box::pin(async move {
                if let Some(sent) = idempotency::replay::<Sent>(&app_in, tx, &ctx_in).await? {
                    return Ok(Some(sent));
                }
                if tx.device(&id_in).await?.is_none() {
                    return Err(Error::NotFound { what: "device" });
                }
                if listens.is_none() {
                    return Err(nobody_listens());
                }
                let entry = ctx_in.done(now, Action::MessagePublished).device(&id_in).detail(detail);
                record(tx, &entry).await?;
                Ok(None)
            })
        })
        .await?;
    if let Some(sent) = sent {
        return Ok(sent);
    }
    let Some(links) = links else { return Err(nobody_listens()) };
    match links.send(tenant, &topic, payload, ttl).await {
        Ok(0) => Err(nobody_listens()),
        Ok(_) => remember(app, ctx, tenant, Sent { message_id, connected: listens == Some(true) }).await,
        Err(_) => Err(Error::TooMany { what: "messages wait for the device", retry_after: Duration::from_secs(60) }),
    }
}

/// That it was sent is kept after it was: between the two, a caller that asks again sends it again, and none is lost.
async fn remember(app: &App, ctx: &Ctx, tenant: &TenantId, sent: Sent) -> Result<Sent> {
    if ctx.idempotency.is_some() {
        let (app_in, ctx_in, sent_in) = (app.clone(), ctx.clone(), sent.clone());
        app.write(tenant, "message sent", move |tx| {
            Box::pin(async move { idempotency::keep(&app_in, tx, &ctx_in, &sent_in).await })
        })
        .await?;
    }
    Ok(sent)
}

/// What stands beside the message, under the names that a hub gives it.
fn properties(app: &App, id: &DeviceId, new: &NewMessage, message_id: &str, ttl: Duration) -> Result<Properties> {
    let mut all = Properties::default();
    let fields = [
        ("message_id", "$.mid", Some(message_id)),
        ("correlation_id", "$.cid", new.correlation_id.as_deref()),
        ("content_type", "$.ct", new.content_type.as_deref()),
        ("content_encoding", "$.ce", new.content_encoding.as_deref()),
    ];
    for (field, name, value) in fields {
        let Some(value) = value else { continue };
        check_line(field, value, FIELD_BYTES)?;
        all.push(name, value);
    }
    all.push("$.to", format!("/devices/{id}/messages/devicebound"));
    all.push("$.exp", app.now().plus(ttl).to_string());
    if new.properties.len() > limits::HUB_MESSAGE_PROPERTIES {
        let most = limits::HUB_MESSAGE_PROPERTIES;
        return Err(Error::invalid("properties", format!("at most {most}")));
    }
    for (name, value) in &new.properties {
        let field = format!("properties.{name}");
        if name.starts_with("$.") || name.starts_with("iothub-") {
            return Err(Error::invalid(field, "names that begin with `$.` and `iothub-` are the hub's own"));
        }
        check_line("properties", name, FIELD_BYTES)?;
        if value.len() > FIELD_BYTES || value.chars().any(char::is_control) {
            return Err(Error::invalid(field, format!("at most {FIELD_BYTES} bytes, without control characters")));
        }
        all.push(name, value);
    }
    Ok(all)
}

fn nobody_listens() -> Error {
    let reason =
        "the device has no session that subscribes to messages; it has to connect once, and to keep its session";
    Error::conflict("nobody-listens", reason)
}
