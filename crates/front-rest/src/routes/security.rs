//! Signs of abuse that are counted; findings themselves stand among the events, as `security.*`.

mod auth_failures;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(auth_failures::handler))
}
