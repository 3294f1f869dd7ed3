//! Messages over HTTPS, as the AWS data plane has them: `POST /topics/{topic}?qos=&retain=`, `GET /retainedMessage[/{topic}]`.
//!
//! What a device may publish and read here is what it may over MQTT, by the same rules. With QoS 1 the answer comes when the
//! message is committed, as a PUBACK would; a message to a service is answered when the service is done, and its own answer
//! goes where it always goes, to the topic.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use fleetward_app::{App, DeviceMessage, PublishRefused};
use fleetward_base::limits;
use fleetward_core::shadow::Refused;
use fleetward_wire::aws::message::format_user_properties;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{device, payload, respond};
use crate::listing::read_query;

/// How a message is published. Flags and numbers are texts in a query.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct How {
    qos: Option<String>,
    retain: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Paging {
    max_results: Option<usize>,
    next_token: Option<String>,
}

/// Why a message went nowhere, with AWS's name for it.
struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into() }
    }

    fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidRequestException", message)
    }

    fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", "No message is retained on this topic")
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let status = StatusCode::from_u16(refused.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, refused.error_type(), refused.to_string())
    }
}

impl From<PublishRefused> for Refusal {
    fn from(refused: PublishRefused) -> Self {
        match refused {
            PublishRefused::NotAuthorized => Refused::Forbidden.into(),
            PublishRefused::TopicInvalid => Self::invalid("The topic is not a topic name"),
            PublishRefused::PayloadInvalid => Self::invalid("The payload cannot be taken"),
            PublishRefused::TooLarge => Refused::TooLarge.into(),
            PublishRefused::Quota => Refused::TooManyRequests.into(),
            PublishRefused::Unavailable => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "ServiceUnavailableException", "The message cannot be taken just now")
            }
        }
    }
}

pub(super) async fn publish(State(app): State<App>, Path(topic): Path<String>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let outcome = async {
        let How { qos, retain } = read_query(parts.uri.query().unwrap_or_default()).unwrap_or_default();
        let qos = match qos.as_deref() {
            None | Some("0") => 0,
            Some("1") => 1,
            Some(_) => return Err(Refusal::invalid("qos is 0 or 1")),
        };
        let retain = match retain.as_deref() {
            None | Some("false" | "0") => false,
            Some("true" | "1") => true,
            Some(_) => return Err(Refusal::invalid("retain is true or false")),
        };
        let (ctx, _, payload) = payload(&app, &parts, body).await?;
        let links = app.links().ok_or(PublishRefused::Unavailable)?;
        links.publish_as(&ctx.principal, DeviceMessage { topic, payload, qos, retain }).await?;
        Ok(json!({ "message": "OK", "traceId": ctx.request_id.to_string() }))
    };
    answer(&app, outcome.await)
}

pub(super) async fn show(State(app): State<App>, Path(topic): Path<String>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let outcome = async {
        let (ctx, tenant) = device(&app, &parts).await?;
        let links = app.links().ok_or(PublishRefused::Unavailable)?;
        if !links.may_receive(&ctx.principal, &topic).await {
            return Err(Refused::Forbidden.into());
        }
        let found = links.retained(&tenant, &topic).ok_or_else(Refusal::absent)?;
        let mut body = json!({
            "topic": found.topic,
            "payload": BASE64_STANDARD.encode(&found.payload),
            "qos": found.qos,
            "lastModifiedTime": found.stored_at.millis(),
        });
        if let (false, Some(fields)) = (found.beside.user.is_empty(), body.as_object_mut()) {
            fields.insert("userProperties".to_owned(), json!(format_user_properties(&found.beside.user)));
        }
        Ok(body)
    };
    answer(&app, outcome.await)
}

pub(super) async fn list(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let outcome = async {
        let (ctx, _) = device(&app, &parts).await?;
        let links = app.links().ok_or(PublishRefused::Unavailable)?;
        let paging: Paging = read_query(parts.uri.query().unwrap_or_default()).unwrap_or_default();
        let limit = paging.max_results.unwrap_or(limits::RETAINED_PAGE).clamp(1, limits::RETAINED_PAGE);
        let after =
            paging.next_token.and_then(|token| String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok());
        let mut found =
            links.retained_for(&ctx.principal, after.as_deref().unwrap_or_default(), limit.saturating_add(1)).await;
        let more = found.len() > limit;
        found.truncate(limit);
        let topics = found.iter().map(|it| {
            json!({
                "topic": it.topic,
                "payloadSize": it.payload.len(),
                "qos": it.qos,
                "lastModifiedTime": it.stored_at.millis(),
            })
        });
        let mut body = json!({ "retainedTopics": topics.collect::<Vec<Value>>() });
        if let (true, Some(last), Some(fields)) = (more, found.last(), body.as_object_mut()) {
            fields.insert("nextToken".to_owned(), json!(BASE64_URL_SAFE_NO_PAD.encode(&last.topic)));
        }
        Ok(body)
    };
    answer(&app, outcome.await)
}

fn answer(app: &App, outcome: Result<Value, Refusal>) -> Response {
    match outcome {
        Ok(body) => respond(app, StatusCode::OK, body.to_string().into_bytes(), None),
        Err(Refusal { status, kind, message }) => {
            let body = json!({ "message": message, "traceId": app.new_request_id().to_string() });
            respond(app, status, body.to_string().into_bytes(), Some(kind))
        }
    }
}
