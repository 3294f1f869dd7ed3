//! What Azure's IoT Hub has an operator do to a device: call a method, send a message.

mod call;
mod send;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(call::handler)).routes(routes!(send::handler))
}
