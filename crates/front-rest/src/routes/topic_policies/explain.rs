//! `POST /v1/tenants/{tenant}/devices/{device}/explain-topic`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::topic_policies::{Question, explain_topic};
use fleetward_base::DeviceId;
use fleetward_core::topic_policy::Act;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::TopicAnswerView;

/// What a device would do.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExplainTopic, example = json!({ "action": "publish", "topic": "devices/gw-1/status" }))]
pub(super) struct Body {
    /// `connect`, `publish`, `retain`, `subscribe` or `receive`.
    #[schema(value_type = String)]
    action: Act,
    /// A filter where it subscribes; left out where it connects.
    #[serde(default)]
    topic: String,
    /// The certificate of its connection; the one that the device uses now unless said.
    certificate: Option<String>,
}

/// Say whether a device may do something with a topic, and why
///
/// Nothing is done: it answers as the devices' door would.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/explain-topic",
    operation_id = "explain_topic",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = TopicAnswerView)),
    extensions(("x-permission" = json!("topic-policy:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    body: Json<Body>,
) -> Result<Answer<TopicAnswerView>, Problem> {
    let Body { action, topic, certificate } = body.value;
    let question = Question { device, act: action, topic, serial: certificate };
    Ok(Answer(explain_topic(door.app(), &caller.ctx, &caller.tenant, question).await?.into()))
}
