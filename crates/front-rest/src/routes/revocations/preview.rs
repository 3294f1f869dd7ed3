//! `POST /v1/tenants/{tenant}/revocations/preview`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::revocation::preview;
use fleetward_core::revocation::Target;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::RevocationPreviewView;

/// What might be revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PreviewRevocation, example = json!({ "target": { "kind": "group", "selector": { "tags": ["stolen-lot"] } } }))]
pub(super) struct Body {
    /// As for a revocation.
    #[schema(value_type = Object)]
    target: Target,
}

/// See what a revocation would meet
///
/// Nothing is changed.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/revocations/preview",
    operation_id = "preview_revocation",
    tag = "revocations",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 200, body = RevocationPreviewView)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Answer<RevocationPreviewView>, Problem> {
    Ok(Answer(preview(door.app(), &caller.ctx, &caller.tenant, body.value.target).await?.into()))
}
