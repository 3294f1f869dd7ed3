//! `POST /v1/tenants/{tenant}/command-templates`

use axum::extract::State;
use fleetward_app::commands::templates::{NewTemplate, create_command_template};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::View;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;

/// A command to be written down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateCommandTemplate, example = json!({ "name": "restart-app", "payload": { "name": "collector" } }))]
pub(super) struct Body {
    /// The operation, in a word that devices know.
    name: String,
    /// For people.
    title: Option<String>,
    description: Option<String>,
    /// The media type of the payload; application/json where it is absent.
    content_type: Option<String>,
    /// JSON for the device.
    payload: Option<Value>,
    /// Any bytes for the device, in place of `payload`.
    payload_base64: Option<String>,
}

/// Write a command down
///
/// The same again is harmless. What it carries never changes.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/command-templates",
    operation_id = "create_command_template",
    tag = "commands",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = View)),
    extensions(("x-permission" = json!("command:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<View>, Problem> {
    let Body { name, title, description, content_type, payload, payload_base64 } = body.value;
    let payload = super::payload(payload, payload_base64)?;
    let new = NewTemplate { name, title, description, content_type, payload };
    let made = create_command_template(door.app(), &caller.ctx, &caller.tenant, new).await?;
    Ok(Tagged::created(made.revision, made.into()))
}
