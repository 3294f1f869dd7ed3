//! The way to hand a server's MQTT clients to another one. It is the server that is asked.

mod end;
mod show;
mod start;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show::handler, start::handler, end::handler))
}
