//! `POST /v1/tenants/{tenant}/revocations`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::revocation::{NewRevocation, begin};
use fleetward_core::revocation::Target;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::RevocationView;

/// What is to be revoked, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateRevocation, example = json!({
    "target": { "kind": "group", "selector": { "tags": ["stolen-lot"] } },
    "reason": "key_compromise"
}))]
pub(super) struct Body {
    /// `kind` is certificate (`serial`), device (`device`), group (`selector`), claim (`source`, and `way` where it is to be
    /// narrowed), authority (`fingerprint`) or tenant. The last two need `tenant:update` too.
    #[schema(value_type = Object)]
    target: Target,
    /// Words for the history. What is a reason of RFC 5280 stands in lists and answers: key_compromise, ca_compromise,
    /// affiliation_changed, superseded, cessation_of_operation, privilege_withdrawn.
    reason: Option<String>,
    /// Not at once: devices are told to replace their certificate, and what is not replaced after so many seconds is
    /// revoked.
    replace_within_s: Option<u64>,
}

/// Revoke many, or have certificates replaced
///
/// It begins at once and goes on by itself; the answer says where to look.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/revocations",
    operation_id = "create_revocation",
    tag = "revocations",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = RevocationView)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<RevocationView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { target, reason, replace_within_s } = body.value;
    let new = NewRevocation {
        target,
        reason: reason.unwrap_or_else(|| "unspecified".to_owned()),
        replace_by: replace_within_s.map(|secs| door.app().now().plus(Duration::from_secs(secs))),
    };
    let begun = begin(door.app(), &ctx, &tenant, new).await?;
    Ok((StatusCode::CREATED, Answer(begun.into())))
}
