//! `GET /v1/tenants/{tenant}/api-tokens`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::api_tokens::api_tokens;

use super::{NoFilter, view};
use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::ApiTokenView;

/// List tokens of a tenant, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/api-tokens",
    operation_id = "list_api_tokens",
    tag = "access",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<ApiTokenView>)),
    extensions(("x-permission" = json!("api-token:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<NoFilter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let found = api_tokens(door.app(), &caller.ctx, Some(caller.tenant.clone()), after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), view))
}
