//! Makers whose statements in the manufacturing database are believed.

mod list;
mod register;
mod remove;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(register::handler, list::handler)).routes(routes!(remove::handler))
}
