//! Who signs the certificates of a tenant's devices.

mod check;
mod set;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show::handler, set::handler)).routes(routes!(check::handler))
}
