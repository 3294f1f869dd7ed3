//! `GET /v1/tenants/{tenant}/deny-list`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::deny_list::entries;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::DenyListEntryView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List the deny list, by kind and value
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/deny-list",
    operation_id = "list_deny_list",
    tag = "deny list",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<DenyListEntryView>)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let after = after.and_then(|key| key.split_once(' ').map(|(kind, value)| (kind.to_owned(), value.to_owned())));
    let found = entries(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    let key = |row: &fleetward_app::deny_list::DenyView| format!("{} {}", row.kind, row.value);
    Ok(listing.answer(&door, Some(&caller.tenant), found, key, DenyListEntryView::from))
}
