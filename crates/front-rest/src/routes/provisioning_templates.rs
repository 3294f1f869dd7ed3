//! Provisioning templates, and claims of trusted users for them.

mod amend;
mod create;
mod list;
mod provisioning_claim;
mod remove;
mod show;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(show::handler, amend::handler, remove::handler))
        .routes(routes!(provisioning_claim::handler))
}

/// A template as it came: an object, or its text, as AWS's tools give it.
fn text(body: serde_json::Value) -> String {
    match body {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}
