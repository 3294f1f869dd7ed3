//! `GET /v1/tenants/{tenant}/access-keys`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::access_keys::{AccessKey, access_keys};

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::routes::api_tokens::NoFilter;
use crate::view::{AccessKeyView, Time};

/// List access keys of a tenant, by id
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/access-keys",
    operation_id = "list_access_keys",
    tag = "access",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<AccessKeyView>)),
    extensions(("x-permission" = json!("access-key:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<NoFilter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = access_keys(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |row| row.id.clone(), view))
}

fn view(key: AccessKey) -> AccessKeyView {
    AccessKeyView {
        id: key.id,
        name: key.name,
        role: key.role.as_str(),
        created_by: key.created_by,
        created_at: Time(key.created_at),
        last_used_at: key.last_used_at.map(Time),
        disabled_at: key.disabled_at.map(Time),
    }
}
