//! `POST /v1/tenants/{tenant}/topic-policies/{name}/default`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::topic_policies::set_default_version;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TopicPolicyView;

/// The version that is to count.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetTopicPolicyDefault, example = json!({ "version": 1 }))]
pub(super) struct Body {
    version: u64,
}

/// Have another version of a topic policy count
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/topic-policies/{name}/default",
    operation_id = "set_topic_policy_default",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    request_body = Body,
    responses((status = 200, body = TopicPolicyView)),
    extensions(("x-permission" = json!("topic-policy:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
    body: Json<Body>,
) -> Result<Answer<TopicPolicyView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let version = body.value.version;
    Ok(Answer(set_default_version(door.app(), &ctx, &tenant, &name.0, version).await?.into()))
}
