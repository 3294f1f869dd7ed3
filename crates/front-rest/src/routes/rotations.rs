//! Campaigns that renew certificates.

mod control;
mod create;
mod devices;
mod list;
mod show;

use fleetward_app::rotation::{NewRotation, RotationView as Found};
use fleetward_core::rollout::Policy;
use fleetward_core::rotation::campaign::Renewal;
use fleetward_core::selector::Selector;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::view::RotationView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler))
        .routes(routes!(devices::handler))
        .routes(routes!(control::pause))
        .routes(routes!(control::resume))
        .routes(routes!(control::cancel))
}

fn tagged(found: Found) -> Tagged<RotationView> {
    Tagged::ok(found.campaign.revision, RotationView::new(found))
}

/// A rotation to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateRotation, example = json!({
    "name": "spring",
    "at_once": false,
    "selector": { "site": "berlin" },
    "policy": {
        "phases": [{ "target": { "count": 3 }, "soak_s": 600 }, { "target": { "percent": 100 } }],
        "gates": { "max_failure_percent": 10, "min_finished": 3 },
        "timeout_s": 3600
    }
}))]
struct Body {
    /// What people call it.
    name: String,
    /// An emergency: the old certificate of a device ends with the first use of the new one.
    #[serde(default)]
    at_once: bool,
    /// `hardware` (any of), `tags` (all of), `devices` (any of), `environment`, `site`; all that are given must hold.
    #[serde(default)]
    #[schema(value_type = Object)]
    selector: Selector,
    /// `phases`, each with a cumulative `target` of `count` or `percent` and a `soak_s`; `gates`; `timeout_s`, after which a
    /// device that was asked has failed.
    #[serde(default)]
    #[schema(value_type = Object)]
    policy: Policy,
}

impl From<Body> for NewRotation {
    fn from(body: Body) -> Self {
        let renewal = Renewal { at_once: body.at_once };
        Self { name: body.name, renewal, selector: body.selector, policy: body.policy }
    }
}
