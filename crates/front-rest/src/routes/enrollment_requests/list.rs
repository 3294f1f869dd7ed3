//! `GET /v1/tenants/{tenant}/enrollment-requests`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::enrollment_requests::enrollment_requests;
use fleetward_base::Timestamp;
use fleetward_core::approval;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::EnrollmentRequestView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<approval::State>,
}

/// List devices that wait for approval, oldest first
///
/// By their stored state: one that waited in vain is `pending` there, and is shown as `expired`.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/enrollment-requests",
    operation_id = "list_enrollment_requests",
    tag = "enrolment",
    params(
        ("tenant" = String, Path),
        ("state" = Option<String>, Query, description = "pending, approved, denied or used"),
    ),
    responses((status = 200, body = Page<EnrollmentRequestView>)),
    extensions(("x-permission" = json!("enrollment:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?.and_then(|key| {
        let (millis, id) = key.split_once('/')?;
        Some((Timestamp::from_millis(millis.parse().ok()?), id.to_owned()))
    });
    let (ctx, tenant, rows) = (&caller.ctx, &caller.tenant, listing.rows_and_one());
    let found = enrollment_requests(door.app(), ctx, tenant, listing.filter.state, after, rows).await?;
    let key =
        |row: &fleetward_app::enrollment_requests::EnrollmentRequest| format!("{}/{}", row.created_at.millis(), row.id);
    Ok(listing.answer(&door, Some(&caller.tenant), found, key, EnrollmentRequestView::new))
}
