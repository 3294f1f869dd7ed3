//! A root that is kept offline: what it is asked for, and taking in what it signed.

mod import;
mod list;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list::handler)).routes(routes!(import::handler))
}
