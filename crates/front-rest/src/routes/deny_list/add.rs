//! `POST /v1/tenants/{tenant}/deny-list`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::deny_list::{Denied, deny};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::DenyListEntryView;

/// What is to be refused, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddDenyListEntry, example = json!({ "kind": "serial", "value": "41a3", "reason": "stolen" }))]
pub(super) struct Body {
    /// serial, key (SHA-256 of a SubjectPublicKeyInfo) or hardware.
    kind: String,
    value: String,
    #[serde(default)]
    reason: Option<String>,
}

/// Put something on the deny list
///
/// Live sessions with it end right away. Asking twice is harmless.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/deny-list",
    operation_id = "add_deny_list_entry",
    tag = "deny list",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = DenyListEntryView)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<DenyListEntryView>), Problem> {
    let Body { kind, value, reason } = body.value;
    let reason = reason.unwrap_or_else(|| "unspecified".to_owned());
    let kind = Denied::parse(&kind)?;
    let entry = deny(door.app(), &caller.ctx, &caller.tenant, kind, &value, &reason).await?;
    Ok((StatusCode::CREATED, Answer(entry.into())))
}
