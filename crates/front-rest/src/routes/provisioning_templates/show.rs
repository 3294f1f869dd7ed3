//! `GET /v1/tenants/{tenant}/provisioning-templates/{name}`

use axum::extract::State;
use fleetward_app::provisioning::templates::template;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TemplateView;

/// Show a provisioning template
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/provisioning-templates/{name}",
    operation_id = "show_provisioning_template",
    tag = "provisioning",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = TemplateView)),
    extensions(("x-permission" = json!("provisioning:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
) -> Result<Tagged<TemplateView>, Problem> {
    let found = template(door.app(), &caller.ctx, &caller.tenant, &name).await?;
    Ok(Tagged::ok(found.revision, TemplateView::new(found, None)))
}
