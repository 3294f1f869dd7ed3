//! `GET /v1/tenants/{tenant}/token-issuers`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::token_issuers::token_issuers;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::TokenIssuerView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List token services, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/token-issuers",
    operation_id = "list_token_issuers",
    tag = "enrolment",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<TokenIssuerView>)),
    extensions(("x-permission" = json!("token-issuer:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = token_issuers(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |it| it.name.clone(), TokenIssuerView::from))
}
