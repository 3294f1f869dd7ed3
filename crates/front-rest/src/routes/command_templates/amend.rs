//! `PATCH /v1/tenants/{tenant}/command-templates/{name}`

use axum::extract::State;
use fleetward_app::commands::templates::{TemplateChange, amend_command_template, command_template};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{View, tagged};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::path::{At, Name};
use crate::problem::Problem;

/// What is said anew. What is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AmendCommandTemplate, example = json!({ "deprecated": true }))]
pub(super) struct Body {
    title: Option<String>,
    description: Option<String>,
    /// Nothing is sent by it any more, or again something is.
    deprecated: Option<bool>,
}

/// Say something else of a command that is written down
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/command-templates/{name}",
    operation_id = "amend_command_template",
    tag = "commands",
    params(("tenant" = String, Path), ("name" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("command:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<View>, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let current = async { command_template(door.app(), ctx, tenant, &name).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    let Body { title, description, deprecated } = body.value;
    let change = TemplateChange { title, description, deprecated };
    Ok(tagged(amend_command_template(door.app(), ctx, tenant, &name, Some(expected), change).await?))
}
