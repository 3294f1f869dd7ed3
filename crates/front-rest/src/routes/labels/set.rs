//! `PATCH /v1/tenants/{tenant}/labels/{labelled}/{name}`

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::labels::set_labels;
use serde::Deserialize;
use utoipa::ToSchema;

use super::View;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Labelled, Name};
use crate::problem::Problem;

/// Labels to be written, key by key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetLabels, example = json!({ "labels": { "team": "iot", "old": null } }))]
pub(super) struct Body {
    /// `null` takes one away; what is not named stays.
    labels: BTreeMap<String, Option<String>>,
}

/// Write labels on something
///
/// `labelled` is `type`, `group`, `template`, `policy`, `job` or `command`. Each key is written by itself, and the same again is
/// harmless, so it asks for no `If-Match`.
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/labels/{labelled}/{name}",
    operation_id = "set_labels",
    tag = "devices",
    params(("tenant" = String, Path), ("labelled" = String, Path), ("name" = String, Path)),
    request_body = Body,
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Labelled(kind)): At<Labelled>,
    At(Name(name)): At<Name>,
    body: Json<Body>,
) -> Result<Answer<View>, Problem> {
    let labels = set_labels(door.app(), &caller.ctx, &caller.tenant, kind, &name, body.value.labels).await?;
    Ok(Answer(View { labels }))
}
