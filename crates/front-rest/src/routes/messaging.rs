//! What a tenant has decided on its messaging: the profile of its devices' MQTT, and its rates.

mod amend;
mod show;

use fleetward_app::messaging::MessagingView as Found;
use serde_json::json;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::view::MessagingView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show::handler, amend::handler))
}

fn view(found: Found) -> Tagged<MessagingView> {
    let Found { messaging, revision } = found;
    Tagged::ok(revision, MessagingView { profile: messaging.profile.as_str(), rates: json!(messaging.rates) })
}
