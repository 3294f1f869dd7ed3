//! Devices on their way to another tenant.

mod accept;
mod cancel;
mod complete;
mod list;
mod offer;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(offer::handler, list::handler))
        .routes(routes!(accept::handler))
        .routes(routes!(cancel::handler))
        .routes(routes!(complete::handler))
}
