//! The log of a tenant's certificates.

mod certificate;
mod consistency;
mod head;
mod leaves;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(head::handler))
        .routes(routes!(certificate::handler))
        .routes(routes!(consistency::handler))
        .routes(routes!(leaves::handler))
}
