//! Token services whose word is taken for a device.

mod disable;
mod enable;
mod list;
mod register;
mod remove;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(register::handler, list::handler))
        .routes(routes!(show::handler, remove::handler))
        .routes(routes!(disable::handler))
        .routes(routes!(enable::handler))
}
