//! Staged updates.

mod control;
mod create;
mod deployments;
mod list;
mod plan;
mod show;

use fleetward_app::rollouts::{NewRollout, RolloutView as Found};
use fleetward_base::ReleaseId;
use fleetward_core::rollout::Policy;
use fleetward_core::selector::Selector;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use control::{Note, Nothing};

use crate::door::Door;
use crate::etag::Tagged;
use crate::view::RolloutView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(plan::handler))
        .routes(routes!(show::handler))
        .routes(routes!(deployments::handler))
        .routes(routes!(control::pause))
        .routes(routes!(control::resume))
        .routes(routes!(control::cancel))
        .routes(routes!(control::roll_back))
}

fn tagged(found: Found) -> Tagged<RolloutView> {
    Tagged::ok(found.rollout.revision, RolloutView::new(found))
}

/// A staged update to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateRollout, example = json!({
    "release": "01890000-0000-7000-8000-000000000000",
    "selector": { "hardware": ["rev-b"] },
    "policy": {
        "phases": [{ "target": { "count": 3 }, "soak_s": 600 }, { "target": { "percent": 100 } }],
        "gates": { "max_failure_percent": 10, "min_finished": 3, "max_silent_percent": 10, "silent_after_s": 600 },
        "timeout_s": 3600
    }
}))]
struct Body {
    /// What people call it; the release's name and version where it is absent.
    name: Option<String>,
    /// The release's id.
    #[serde(deserialize_with = "release_id")]
    #[schema(value_type = String)]
    release: ReleaseId,
    /// `hardware` (any of), `tags` (all of), `devices` (any of), `environment`, `site`; all that are given must hold.
    #[serde(default)]
    #[schema(value_type = Object)]
    selector: Selector,
    /// `phases`, each with a cumulative `target` of `count` or `percent` and a `soak_s`; `gates`; `timeout_s`.
    #[serde(default)]
    #[schema(value_type = Object)]
    policy: Policy,
}

/// A text that is no id names no release.
fn release_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ReleaseId, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl From<Body> for NewRollout {
    fn from(body: Body) -> Self {
        Self { name: body.name, release: body.release, selector: body.selector, policy: body.policy }
    }
}
