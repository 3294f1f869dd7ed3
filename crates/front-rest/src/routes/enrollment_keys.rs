//! Symmetric keys with which devices enrol: of groups, and of single devices.

mod create;
mod id_scope;
mod list;
mod revoke;
mod rotate;
mod show;

use fleetward_app::enrollment_keys::ShownKeys;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::ShownKeysView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, revoke::handler))
        .routes(routes!(rotate::handler))
        .routes(routes!(id_scope::handler))
}

fn shown(keys: ShownKeys) -> ShownKeysView {
    ShownKeysView {
        kind: keys.kind.as_str(),
        name: keys.name,
        primary_key: keys.primary_key,
        secondary_key: keys.secondary_key,
        id_scope: keys.id_scope,
    }
}
