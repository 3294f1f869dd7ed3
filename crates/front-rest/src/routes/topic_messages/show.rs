//! `GET /v1/tenants/{tenant}/retained-messages/{topic}`

use axum::Json;
use axum::extract::State;
use fleetward_app::topic_messages::retained_message;

use super::RetainedView;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, TopicName};
use crate::problem::Problem;

/// Show what is retained on a topic
///
/// A slash of the topic is written `%2F`.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/retained-messages/{topic}",
    operation_id = "show_retained_message",
    tag = "state",
    params(("tenant" = String, Path), ("topic" = String, Path)),
    responses((status = 200, body = RetainedView)),
    extensions(("x-permission" = json!("topic:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(TopicName(topic)): At<TopicName>,
) -> Result<Json<RetainedView>, Problem> {
    Ok(Json(retained_message(door.app(), &caller.ctx, &caller.tenant, &topic)?.into()))
}
