//! `PATCH /v1/tenants/{tenant}/messaging`

use axum::extract::State;
use fleetward_app::messaging::{amend_messaging, show_messaging};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::problem::Problem;
use crate::view::MessagingView;

/// A merge patch (RFC 7396): what is absent stays, `null` brings back the default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(as = AmendMessaging, example = json!({ "profile": "aws", "rates": { "messages": { "per_second": 500, "burst": 1000 } } }))]
pub(super) struct Body {
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

/// Change what holds for the messaging of a tenant
///
/// The profile holds for connections from then on; rates hold at once.
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/messaging",
    operation_id = "amend_messaging",
    tag = "tenants",
    params(("tenant" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = MessagingView)),
    extensions(("x-permission" = json!("tenant:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<MessagingView>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, &caller.tenant);
    let current = async { show_messaging(app, ctx, tenant).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    Ok(super::view(amend_messaging(app, ctx, tenant, expected, body.value.fields).await?))
}
