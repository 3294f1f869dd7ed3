//! `GET /v1/tenants/{tenant}/enroll-tokens`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::enroll_tokens::{EnrollToken, enroll_tokens};
use fleetward_base::Timestamp;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::{EnrollTokenView, Time};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List enrolment tokens, oldest first
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/enroll-tokens",
    operation_id = "list_enroll_tokens",
    tag = "enrolment",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<EnrollTokenView>)),
    extensions(("x-permission" = json!("enroll-token:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after_as(&door, Some(&caller.tenant))?;
    let found = enroll_tokens(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    let now = door.app().now();
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.to_string(), |row| view(row, now)))
}

fn view(token: EnrollToken, now: Timestamp) -> EnrollTokenView {
    let state = match (token.used_at, token.revoked_at) {
        (Some(_), _) => "used",
        (None, Some(_)) => "revoked",
        (None, None) if token.expires_at <= now => "expired",
        (None, None) => "open",
    };
    EnrollTokenView {
        id: token.id.to_string(),
        device: token.device.to_string(),
        state,
        attempts: token.attempts,
        created_by: token.created_by,
        created_at: Time(token.created_at),
        expires_at: Time(token.expires_at),
        used_at: token.used_at.map(Time),
        revoked_at: token.revoked_at.map(Time),
    }
}
