//! The keys of the installation: names and states, rotation, the emergency switch.

mod disable;
mod enable;
mod rotate;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(show::handler))
        .routes(routes!(rotate::handler))
        .routes(routes!(disable::handler))
        .routes(routes!(enable::handler))
}
