//! `POST /v1/tenants/{tenant}/enrollment-requests/{request}/decision`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::enrollment_requests::decide_enrollment;
use fleetward_core::approval::Decision;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, RequestHandle};
use crate::problem::Problem;
use crate::view::EnrollmentRequestView;

/// What a person decides.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DecideEnrollmentRequest, example = json!({ "decision": "approve", "note": "seen on the bench" }))]
pub(super) struct Body {
    /// approve or deny.
    #[schema(value_type = String)]
    decision: Decision,
    /// For the history.
    note: Option<String>,
}

/// Let a device in, or do not
///
/// The same decision twice is harmless; another one is a conflict.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/enrollment-requests/{request}/decision",
    operation_id = "decide_enrollment_request",
    tag = "enrolment",
    params(("tenant" = String, Path), ("request" = String, Path, description = "Its id, or the code that people type")),
    request_body = Body,
    responses((status = 200, body = EnrollmentRequestView)),
    extensions(("x-permission" = json!("enrollment:decide"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(handle): At<RequestHandle>,
    body: Json<Body>,
) -> Result<Answer<EnrollmentRequestView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { decision, note } = body.value;
    let decided = decide_enrollment(door.app(), &ctx, &tenant, &handle.0, decision, note).await?;
    Ok(Answer(EnrollmentRequestView::new(decided)))
}
