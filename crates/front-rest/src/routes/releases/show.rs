//! `GET /v1/tenants/{tenant}/releases/{release}`

use axum::extract::State;
use fleetward_app::releases::release;
use fleetward_base::ReleaseId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::ReleaseView;

/// Show a release
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/releases/{release}",
    operation_id = "show_release",
    tag = "releases",
    params(("tenant" = String, Path), ("release" = String, Path)),
    responses((status = 200, body = ReleaseView)),
    extensions(("x-permission" = json!("release:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<ReleaseId>,
) -> Result<Tagged<ReleaseView>, Problem> {
    let found = release(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(Tagged::ok(found.release.revision, ReleaseView::new(found)))
}
