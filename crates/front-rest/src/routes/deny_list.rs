//! What is refused whatever else speaks for it.

mod add;
mod list;
mod remove;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(add::handler, list::handler)).routes(routes!(remove::handler))
}
