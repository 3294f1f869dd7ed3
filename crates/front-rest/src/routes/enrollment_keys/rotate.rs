//! `POST /v1/tenants/{tenant}/enrollment-keys/{holder}/{name}/rotate`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::enrollment_keys::{Kind, rotate_enrollment};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, EnrollmentName};
use crate::problem::Problem;
use crate::view::ShownKeysView;

/// Nothing is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RotateEnrollmentKey, example = json!({}))]
pub(super) struct Body {}

/// Make another primary key
///
/// What was the primary becomes the secondary, and what was that counts no more. The keys are shown this once.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/enrollment-keys/{holder}/{name}/rotate",
    operation_id = "rotate_enrollment_key",
    tag = "enrolment",
    params(("tenant" = String, Path), ("holder" = String, Path), ("name" = String, Path)),
    request_body = Body,
    responses((status = 200, body = ShownKeysView)),
    extensions(("x-permission" = json!("enrollment-key:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(kind): At<Kind>,
    At(name): At<EnrollmentName>,
    body: Json<Body>,
) -> Result<Answer<ShownKeysView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    Ok(Answer(super::shown(rotate_enrollment(door.app(), &ctx, &tenant, kind, &name.0).await?)))
}
