//! `GET /v1/tenants/{tenant}/certificates`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::provisioning::unbound::{certificates, place};
use serde::Deserialize;

use super::View;
use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List certificates
///
/// Those of devices by serial number, then those that wait for one.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/certificates",
    operation_id = "list_certificates",
    tag = "devices",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<View>)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = certificates(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, place, View::from))
}
