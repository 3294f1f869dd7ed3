//! `GET /v1/tenants/{tenant}/topic-policies/{name}`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::topic_policies::topic_policy;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TopicPolicyView;

/// Show a topic policy with its versions
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/topic-policies/{name}",
    operation_id = "show_topic_policy",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = TopicPolicyView)),
    extensions(("x-permission" = json!("topic-policy:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
) -> Result<Answer<TopicPolicyView>, Problem> {
    Ok(Answer(topic_policy(door.app(), &caller.ctx, &caller.tenant, &name.0).await?.into()))
}
