//! `POST /v1/tenants/{tenant}/device-claims`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::codes::claim_device;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::ClaimedView;

/// The code that came with a device.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ClaimDevice, example = json!({ "code": "7KQ3-0M9T-2XH8-4VBN-6CDE" }))]
pub(super) struct Body {
    /// Blanks, dashes and case do not matter.
    code: String,
}

/// Claim a device with its code
///
/// A device that waits is let in; one that has not come yet is let in when it comes. The same caller may ask again.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/device-claims",
    operation_id = "claim_device",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 200, body = ClaimedView)),
    extensions(("x-permission" = json!("device:activate"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Answer<ClaimedView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let claimed = claim_device(door.app(), &ctx, &tenant, &body.value.code).await?;
    let device = claimed.device.map(|device| device.to_string());
    Ok(Answer(ClaimedView { kind: claimed.kind, subject: claimed.subject, device }))
}
