//! `POST /v1/tenants/{tenant}/topic-policies/{name}/versions`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::topic_policies::update_topic_policy;
use fleetward_core::topic_policy::Document;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TopicPolicyView;

/// Another version.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddTopicPolicyVersion, example = json!({
    "document": { "statements": [{ "effect": "deny", "actions": ["publish"], "topics": ["shared/#"] }] }
}))]
pub(super) struct Body {
    /// As for a new policy.
    #[schema(value_type = Object)]
    document: Document,
    /// The version that counts now goes on to.
    #[serde(default)]
    keep_default: bool,
}

/// Add a version to a topic policy
///
/// It counts from now on, for sessions that are there too, unless `keep_default` is set.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/topic-policies/{name}/versions",
    operation_id = "add_topic_policy_version",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    request_body = Body,
    responses((status = 201, body = TopicPolicyView)),
    extensions(("x-permission" = json!("topic-policy:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<TopicPolicyView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { document, keep_default } = body.value;
    let made = update_topic_policy(door.app(), &ctx, &tenant, &name.0, document, keep_default).await?;
    Ok((StatusCode::CREATED, Answer(made.into())))
}
