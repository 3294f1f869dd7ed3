//! `GET /v1/tenants/{tenant}/ca-rotation/lagging`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::ca_rotations::devices_without_anchor;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::LaggingDeviceView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List the tenant's active devices that do not hold the root that is waited for
///
/// Of the rotation of the installation's root. Nothing is waited for while there is none: 404.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/ca-rotation/lagging",
    operation_id = "list_lagging_devices",
    tag = "tenants",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<LaggingDeviceView>)),
    extensions(("x-permission" = json!("ca:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let rows = listing.rows_and_one();
    let found = devices_without_anchor(door.app(), &caller.ctx, &caller.tenant, after, rows).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, ToString::to_string, LaggingDeviceView::new))
}
