//! How devices stand with their attestation, what vouches for evidence, and what is good.

mod add_anchor;
mod add_reference;
mod anchors;
mod device;
mod lock_reference;
mod reference;
mod references;
mod remove_anchor;
mod remove_reference;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(device::handler))
        .routes(routes!(add_anchor::handler, anchors::handler))
        .routes(routes!(remove_anchor::handler))
        .routes(routes!(add_reference::handler, references::handler))
        .routes(routes!(reference::handler, remove_reference::handler))
        .routes(routes!(lock_reference::handler))
}
