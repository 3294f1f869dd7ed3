//! One-time challenges with which devices enrol by SCEP.

mod create;
mod list;
mod revoke;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(create::handler, list::handler)).routes(routes!(revoke::handler))
}
