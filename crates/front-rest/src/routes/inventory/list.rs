//! `GET /v1/tenants/{tenant}/inventory`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::inventory::{InventoryFilter, inventory};
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::InventoryRowView;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    batch: Option<String>,
    maker: Option<String>,
}

/// List the manufacturing database, by serial number
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/inventory",
    operation_id = "list_inventory",
    tag = "enrolment",
    params(
        ("tenant" = String, Path),
        ("batch" = Option<String>, Query),
        ("maker" = Option<String>, Query),
    ),
    responses((status = 200, body = Page<InventoryRowView>)),
    extensions(("x-permission" = json!("inventory:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let Filter { batch, maker } = listing.filter.clone();
    let (ctx, tenant, rows) = (&caller.ctx, &caller.tenant, listing.rows_and_one());
    let found = inventory(door.app(), ctx, tenant, InventoryFilter { batch, maker }, after, rows).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.serial.clone(), InventoryRowView::new))
}
