//! What a tenant has decided on the identities of its devices.

mod amend;
mod show;

use fleetward_app::identity_policy::PolicyView;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::IdentityPolicyView;

pub(super) fn router() -> OpenApiRouter<Door> {
    OpenApiRouter::new().routes(routes!(show::handler, amend::handler))
}

fn view(found: PolicyView) -> Result<Tagged<IdentityPolicyView>, Problem> {
    let Ok(Value::Object(sections)) = serde_json::to_value(found.policy) else { return Err(Problem::internal()) };
    Ok(Tagged::ok(found.revision, IdentityPolicyView { sections }))
}
