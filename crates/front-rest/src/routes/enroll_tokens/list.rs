//! `GET /v1/tenants/{tenant}/enroll-tokens`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::enroll_tokens::enroll_tokens;
use fleetward_base::DeviceId;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::routes::enroll_tokens::view;
use crate::view::EnrollTokenView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    device: Option<DeviceId>,
}

/// List enrolment tokens, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/enroll-tokens",
    operation_id = "list_enroll_tokens",
    tag = "enrolment",
    params(("tenant" = String, Path), ("device" = Option<String>, Query)),
    responses((status = 200, body = Page<EnrollTokenView>)),
    extensions(("x-permission" = json!("enroll-token:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let device = listing.filter.device.clone();
    let found = enroll_tokens(door.app(), &caller.ctx, &caller.tenant, device, after, listing.rows_and_one()).await?;
    let now = door.app().now();
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), |row| view(row, now)))
}
