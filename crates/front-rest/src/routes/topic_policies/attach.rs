//! `POST /v1/tenants/{tenant}/topic-policies/{name}/attachments`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::topic_policies::attach_topic_policy;
use http::StatusCode;

use super::TargetBody;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TopicPolicyAttachmentView;

/// Attach a topic policy
///
/// It holds for sessions that are there at once.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/topic-policies/{name}/attachments",
    operation_id = "attach_topic_policy",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    request_body = TargetBody,
    responses((status = 201, body = TopicPolicyAttachmentView)),
    extensions(("x-permission" = json!("topic-policy:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
    body: Json<TargetBody>,
) -> Result<(StatusCode, Answer<TopicPolicyAttachmentView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let target = body.value.target()?;
    let made = attach_topic_policy(door.app(), &ctx, &tenant, &name.0, target).await?;
    Ok((StatusCode::CREATED, Answer(made.into())))
}
