//! `GET /v1/tenants/{tenant}/topic-policies/{name}/attachments`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::topic_policies::{AttachmentView, topic_policy_attachments};
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TopicPolicyAttachmentView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List whom a topic policy is attached to
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/topic-policies/{name}/attachments",
    operation_id = "list_topic_policy_attachments",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Page<TopicPolicyAttachmentView>)),
    extensions(("x-permission" = json!("topic-policy:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after: Option<String> = listing.after(&door, Some(&caller.tenant))?;
    // Kinds have no colon.
    let after = after.and_then(|place| place.split_once(':').map(|(kind, key)| (kind.to_owned(), key.to_owned())));
    let (app, rows) = (door.app(), listing.rows_and_one());
    let found = topic_policy_attachments(app, &caller.ctx, &caller.tenant, &name.0, after, rows).await?;
    let place = |it: &AttachmentView| format!("{}:{}", it.target.kind(), it.target.key());
    Ok(listing.answer(&door, Some(&caller.tenant), found, place, TopicPolicyAttachmentView::from))
}
