//! `GET /v1/tenants/{tenant}/provisioning-templates`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::provisioning::templates::templates;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::TemplateView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List provisioning templates, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/provisioning-templates",
    operation_id = "list_provisioning_templates",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<TemplateView>)),
    extensions(("x-permission" = json!("provisioning:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = templates(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    let view = |row| TemplateView::new(row, None);
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.name.clone(), view))
}
