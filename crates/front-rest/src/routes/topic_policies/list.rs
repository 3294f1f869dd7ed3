//! `GET /v1/tenants/{tenant}/topic-policies`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::topic_policies::topic_policies;
use serde::Deserialize;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Listing;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::TopicPolicyView;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {}

/// List topic policies, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/topic-policies",
    operation_id = "list_topic_policies",
    tag = "devices",
    params(("tenant" = String, Path)),
    responses((status = 200, body = Page<TopicPolicyView>)),
    extensions(("x-permission" = json!("topic-policy:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    listing: Listing<Filter>,
) -> Result<Response, Problem> {
    let after = listing.after(&door, Some(&caller.tenant))?;
    let found = topic_policies(door.app(), &caller.ctx, &caller.tenant, after, listing.rows_and_one()).await?;
    Ok(listing.answer(&door, Some(&caller.tenant), found, |it| it.name.clone(), TopicPolicyView::from))
}
