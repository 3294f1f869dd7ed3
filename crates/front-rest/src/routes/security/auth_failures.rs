//! `GET /v1/tenants/{tenant}/security/auth-failures`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::detection::{AuthFailure, auth_failures};
use fleetward_base::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::{AuthFailureView, Time};

const HOUR: std::time::Duration = std::time::Duration::from_secs(3600);
const DAY_HOURS: u32 = 24;
const MOST_HOURS: u32 = 90 * 24;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filter {
    /// How many hours back; 24 where it is absent
    hours: Option<u32>,
}

/// Count refused authentications by hour, cause, issuer and region
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/security/auth-failures",
    operation_id = "list_auth_failures",
    tag = "events",
    params(("tenant" = String, Path), Filter),
    responses((status = 200, body = Page<AuthFailureView>)),
    extensions(("x-permission" = json!("event:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let hours = listing.filter.hours.unwrap_or(DAY_HOURS);
    if !(1..=MOST_HOURS).contains(&hours) {
        return Err(Problem::invalid("hours", format!("between 1 and {MOST_HOURS}")));
    }
    let since = door.app().now().minus(HOUR * hours);
    let after = listing.after(&door, Some(&caller.tenant))?.and_then(|key| place(&key));
    let (app, ctx) = (door.app(), &caller.ctx);
    let found = auth_failures(app, ctx, &caller.tenant, since, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, key, view))
}

/// What a page is ordered by, as one text.
fn key(row: &AuthFailure) -> String {
    serde_json::json!([row.hour.millis(), row.cause, row.issuer, row.region]).to_string()
}

fn place(key: &str) -> Option<AuthFailure> {
    let (hour, cause, issuer, region) = serde_json::from_str(key).ok()?;
    Some(AuthFailure { hour: Timestamp::from_millis(hour), cause, issuer, region, count: 0 })
}

fn view(row: AuthFailure) -> AuthFailureView {
    let AuthFailure { hour, cause, issuer, region, count } = row;
    AuthFailureView { hour: Time(hour), cause, issuer, region, count }
}
