//! Claim codes, and claiming a device with one.

mod create;
mod list;
mod redeem;
mod revoke;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(revoke::handler))
        .routes(routes!(redeem::handler))
}
