//! `GET /v1/tenants/{tenant}/enrollment-keys/{holder}`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::enrollment_keys::{Kind, enrollments};
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::At;
use crate::problem::Problem;
use crate::view::EnrollmentKeyView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List enrolments by symmetric key, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/enrollment-keys/{holder}",
    operation_id = "list_enrollment_keys",
    tag = "enrolment",
    params(("tenant" = String, Path), ("holder" = String, Path, description = "group or individual")),
    responses((status = 200, body = Page<EnrollmentKeyView>)),
    extensions(("x-permission" = json!("enrollment-key:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(kind): At<Kind>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = enrollments(door.app(), &caller.ctx, &caller.tenant, kind, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.name.clone(), EnrollmentKeyView::new))
}
