//! One authority follows another: a tenant's issuing authority, and the installation's root.

mod advance;
mod cancel;
mod lagging;
mod show;
mod start;

use fleetward_app::ca_rotations::RotationView;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::view::CaRotationView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(show::issuing, start::issuing))
        .routes(routes!(advance::issuing))
        .routes(routes!(cancel::issuing))
        .routes(routes!(lagging::handler))
        .routes(routes!(show::root, start::root))
        .routes(routes!(advance::root))
        .routes(routes!(cancel::root))
}

fn tagged(found: RotationView) -> Tagged<CaRotationView> {
    Tagged::ok(found.revision, CaRotationView::new(found))
}
