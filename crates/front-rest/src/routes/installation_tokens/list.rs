//! `GET /v1/api-tokens`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::api_tokens::api_tokens;

use crate::caller::Caller;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::routes::api_tokens::{NoFilter, view};
use crate::view::ApiTokenView;

/// List tokens of the installation, oldest first
#[utoipa::path(
    get,
    path = "/v1/api-tokens",
    operation_id = "list_installation_api_tokens",
    tag = "access",
    responses((status = 200, body = Page<ApiTokenView>)),
    extensions(("x-permission" = json!("api-token:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: Caller,
    listing: Listing<NoFilter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, None)?;
    let found = api_tokens(door.app(), &caller.ctx, None, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, None, found, |row| row.id.to_string(), view))
}
