//! `PATCH /v1/tenants/{tenant}/identity-policy`

use axum::extract::State;
use fleetward_app::identity_policy::{amend_policy, show_policy};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::problem::Problem;
use crate::view::IdentityPolicyView;

/// A merge patch (RFC 7396) of the policy: what is absent stays, `null` brings back the default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(as = AmendIdentityPolicy, example = json!({ "certificates": { "leaf_days": 30 } }))]
pub(super) struct Body {
    #[schema(value_type = Object)]
    sections: Map<String, Value>,
}

/// Change the identity policy
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/identity-policy",
    operation_id = "amend_identity_policy",
    tag = "tenants",
    params(("tenant" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = IdentityPolicyView)),
    extensions(("x-permission" = json!("tenant:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<IdentityPolicyView>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, &caller.tenant);
    let current = async { show_policy(app, ctx, tenant).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    super::view(amend_policy(app, ctx, tenant, expected, body.value.sections).await?)
}
