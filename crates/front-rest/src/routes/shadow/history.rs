//! `GET /v1/tenants/{tenant}/devices/{device}/shadow/history`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::shadow::history::{Changed, history};
use fleetward_base::DeviceId;
use serde_json::Value;

use super::{Name, key};
use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::At;
use crate::problem::Problem;
use crate::view::{ActorView, ShadowChangeView};

/// Show how a shadow changed, newest first
///
/// Each change is a merge patch over `desired` and `reported`; the oldest that is kept holds the whole document of then. The
/// newest are told apart, of earlier days the last stays: the section `shadow` of the tenant's policy says how many.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/shadow/history",
    operation_id = "list_shadow_history",
    tag = "state",
    params(("tenant" = String, Path), ("device" = String, Path), Name),
    responses((status = 200, body = Page<ShadowChangeView>)),
    extensions(("x-permission" = json!("shadow:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    listing: Listing<Name>,
) -> Result<Response, Problem> {
    let key = key(device, listing.filter.name.clone())?;
    let before = listing.after_as(&door, Some(&caller.tenant))?;
    let found = history(door.app(), &caller.ctx, &caller.tenant, &key, before, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |change| change.number.to_string(), view))
}

fn view(change: Changed) -> ShadowChangeView {
    ShadowChangeView {
        number: change.number,
        version: change.version,
        at: change.at.into(),
        actor: ActorView { kind: change.actor.kind.as_str(), name: change.actor.name },
        patch: Value::Object(change.patch),
    }
}
