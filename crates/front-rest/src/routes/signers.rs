//! Public keys whose releases a tenant accepts.

mod create;
mod list;
mod revoke;
mod show;

use fleetward_core::release::Signer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::view::SignerView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(create::handler, list::handler)).routes(routes!(show::handler, revoke::handler))
}

fn tagged(signer: Signer) -> Tagged<SignerView> {
    Tagged::ok(signer.revision, SignerView::new(signer))
}
