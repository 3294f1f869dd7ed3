//! The inbox of devices that wait until a person lets them in.

mod decide;
mod list;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(list::handler)).routes(routes!(show::handler)).routes(routes!(decide::handler))
}
