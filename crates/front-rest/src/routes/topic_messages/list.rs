//! `GET /v1/tenants/{tenant}/retained-messages`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::Retained;
use fleetward_app::topic_messages::retained_messages;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::Time;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// That a message is retained on a topic.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RetainedTopic)]
pub(super) struct View {
    topic: String,
    payload_bytes: usize,
    qos: u8,
    retained_at: Time,
    /// Absent where it stays until something takes its place.
    expires_at: Option<Time>,
}

/// List what is retained, by topic
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/retained-messages",
    operation_id = "list_retained_messages",
    tag = "state",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<View>)),
    extensions(("x-permission" = json!("topic:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let after = listing.after(&door, Some(tenant))?;
    let found = retained_messages(door.app(), ctx, tenant, after.as_deref(), listing.rows_and_one())?;
    let view = |it: Retained| View {
        payload_bytes: it.payload.len(),
        topic: it.topic,
        qos: it.qos,
        retained_at: Time(it.stored_at),
        expires_at: it.expires_at.map(Time),
    };
    Ok(listing.answer(&door, Some(tenant), found, |it| it.topic.clone(), view))
}
