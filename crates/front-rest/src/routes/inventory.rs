//! The manufacturing database.

mod import;
mod list;
mod provenance;
mod remove;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(list::handler))
        .routes(routes!(import::handler))
        .routes(routes!(show::handler, remove::handler))
        .routes(routes!(provenance::handler))
}
