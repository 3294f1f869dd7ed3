//! Files that releases name.

mod list;
mod show;
mod upload;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list::handler)).routes(routes!(upload::handler, show::handler))
}
