//! Decentralised identifiers of a device.

mod add;
mod challenge;
mod remove;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(show::handler, add::handler))
        .routes(routes!(challenge::handler))
        .routes(routes!(remove::handler))
}
