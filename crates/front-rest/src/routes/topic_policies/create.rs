//! `POST /v1/tenants/{tenant}/topic-policies`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::topic_policies::create_topic_policy;
use fleetward_core::topic_policy::Document;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::TopicPolicyView;

/// A topic policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateTopicPolicy, example = json!({
    "name": "plant",
    "document": { "statements": [{
        "effect": "allow",
        "actions": ["publish", "subscribe", "receive"],
        "topics": ["plants/${attribute:plant}/#"]
    }] }
}))]
pub(super) struct Body {
    name: String,
    description: Option<String>,
    /// `statements`, each with `effect` (allow, deny), `actions` (of connect, publish, retain, subscribe, receive) and `topics`.
    #[schema(value_type = Object)]
    document: Document,
}

/// Make a topic policy
///
/// It holds for nobody until it is attached.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/topic-policies",
    operation_id = "create_topic_policy",
    tag = "devices",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = TopicPolicyView)),
    extensions(("x-permission" = json!("topic-policy:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<TopicPolicyView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, description, document } = body.value;
    let made = create_topic_policy(door.app(), &ctx, &tenant, &name, description, document).await?;
    Ok((StatusCode::CREATED, Answer(made.into())))
}
