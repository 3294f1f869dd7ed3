//! Authorities of factories, and the certificates of theirs that came to a door.

mod activate;
mod amend;
mod arrived;
mod code;
mod create;
mod list;
mod revoke;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(code::handler))
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, amend::handler, revoke::handler))
        .routes(routes!(arrived::handler))
        .routes(routes!(activate::handler))
}
