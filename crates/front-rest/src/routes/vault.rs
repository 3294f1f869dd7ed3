//! The keys of the tenant: names and states, rotation, the emergency switch.

mod disable;
mod enable;
mod rotate;
mod show;

use fleetward_app::vault::{self, KeyView};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::view::{VaultHoldView, VaultKeyView, VaultView};

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(show::handler))
        .routes(routes!(rotate::handler))
        .routes(routes!(disable::handler))
        .routes(routes!(enable::handler))
}

/// Why keys are disabled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DisableVault, example = json!({ "reason": "the laptop of an operator was stolen" }))]
pub(in crate::routes) struct Disable {
    /// For the journal and for whoever is asked to enable them again.
    pub(in crate::routes) reason: String,
}

pub(in crate::routes) fn view(found: vault::VaultView) -> VaultView {
    VaultView {
        seal: found.seal,
        disabled: found.disabled.map(|hold| VaultHoldView { reason: hold.reason, by: hold.by, at: hold.at.into() }),
        keys: found.keys.into_iter().map(key).collect(),
    }
}

fn key(key: KeyView) -> VaultKeyView {
    VaultKeyView {
        kind: key.kind,
        version: key.version,
        key_id: key.key_id,
        wrapped_by: key.wrapped_by,
        active: key.active,
        created_at: key.created_at.into(),
        retired_at: key.retired_at.map(Into::into),
    }
}
