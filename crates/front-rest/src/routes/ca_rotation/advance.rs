//! `POST /v1/tenants/{tenant}/ca-rotation/advance` and `POST /v1/ca-rotation/advance`

use axum::extract::State;
use fleetward_app::ca_rotations::{advance_rotation, rotation};
use fleetward_core::ca_rotation::Forced;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::{Caller, InTenant};
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::problem::Problem;
use crate::view::CaRotationView;

/// Whether the next step is to be taken although something is missing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AdvanceCaRotation, example = json!({ "force": false }))]
pub(super) struct Body {
    /// Devices that lag lose the server, or their certificates; it is journaled.
    #[serde(default)]
    force: bool,
}

/// Take the next step of the rotation
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/ca-rotation/advance",
    operation_id = "advance_issuing_rotation",
    tag = "tenants",
    params(("tenant" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:rotate"))),
)]
pub(super) async fn issuing(
    State(door): State<Door>,
    caller: InTenant,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<CaRotationView>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, Some(&caller.tenant));
    let current = async { rotation(app, ctx, tenant).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    Ok(super::tagged(advance_rotation(app, ctx, tenant, expected, Forced(body.value.force)).await?))
}

/// Take the next step of the rotation of the root
#[utoipa::path(
    post,
    path = "/v1/ca-rotation/advance",
    operation_id = "advance_root_rotation",
    tag = "tenants",
    params(("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:root"))),
)]
pub(super) async fn root(
    State(door): State<Door>,
    caller: Caller,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<CaRotationView>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, None);
    let current = async { rotation(app, ctx, tenant).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    Ok(super::tagged(advance_rotation(app, ctx, tenant, expected, Forced(body.value.force)).await?))
}
