//! `DELETE /v1/tenants/{tenant}/retained-messages/{topic}`

use axum::extract::State;
use fleetward_app::topic_messages::clear_retained;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, TopicName};
use crate::problem::Problem;

/// Clear what is retained on a topic
///
/// Whoever subscribes hears an empty message. Asking twice is harmless, so it asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/retained-messages/{topic}",
    operation_id = "clear_retained_message",
    tag = "state",
    params(("tenant" = String, Path), ("topic" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("topic:publish"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(TopicName(topic)): At<TopicName>,
) -> Result<StatusCode, Problem> {
    clear_retained(door.app(), &caller.ctx, &caller.tenant, &topic).await?;
    Ok(StatusCode::NO_CONTENT)
}
