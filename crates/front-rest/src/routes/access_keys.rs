//! Access keys of a tenant: what AWS's clients sign their requests with.

mod create;
mod disable;
mod list;
mod remove;

use fleetward_core::access::Role;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new()
        .routes(routes!(create::handler, list::handler))
        .routes(routes!(disable::handler))
        .routes(routes!(remove::handler))
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateAccessKey, example = json!({ "name": "terraform", "role": "operator" }))]
struct Body {
    /// Whose it is, for the audit log.
    name: String,
    /// owner, operator or viewer.
    #[schema(value_type = String)]
    role: Role,
}
