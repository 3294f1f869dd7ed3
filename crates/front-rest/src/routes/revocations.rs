//! Revoking many, and having certificates replaced.

mod cancel;
mod create;
mod list;
mod preview;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(preview::handler))
        .routes(routes!(show::handler))
        .routes(routes!(cancel::handler))
}
