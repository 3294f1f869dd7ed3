//! Labels on types, groups, templates, policies and jobs.

mod set;
mod show;

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show::handler, set::handler))
}

/// What people wrote on something; nothing is decided by it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Labels)]
struct View {
    labels: BTreeMap<String, String>,
}
