//! `POST /v1/tenants/{tenant}/ca-rotation/cancel` and `POST /v1/ca-rotation/cancel`

use axum::extract::State;
use fleetward_app::ca_rotations::{cancel_rotation, rotation};

use crate::caller::{Caller, InTenant};
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::problem::Problem;
use crate::view::CaRotationView;

/// Call the rotation off, before the new authority signs
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/ca-rotation/cancel",
    operation_id = "cancel_issuing_rotation",
    tag = "tenants",
    params(("tenant" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    responses((status = 200, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:rotate"))),
)]
pub(super) async fn issuing(
    State(door): State<Door>,
    caller: InTenant,
    if_match: IfMatch,
) -> Result<Tagged<CaRotationView>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, Some(&caller.tenant));
    let current = async { rotation(app, ctx, tenant).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    Ok(super::tagged(cancel_rotation(app, ctx, tenant, expected).await?))
}

/// Call the rotation of the root off, before the new one signs
#[utoipa::path(
    post,
    path = "/v1/ca-rotation/cancel",
    operation_id = "cancel_root_rotation",
    tag = "tenants",
    params(("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    responses((status = 200, body = CaRotationView)),
    extensions(("x-permission" = json!("ca:root"))),
)]
pub(super) async fn root(
    State(door): State<Door>,
    caller: Caller,
    if_match: IfMatch,
) -> Result<Tagged<CaRotationView>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, None);
    let current = async { rotation(app, ctx, tenant).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    Ok(super::tagged(cancel_rotation(app, ctx, tenant, expected).await?))
}
