//! `PATCH /v1/tenants/{tenant}/provisioning-templates/{name}`

use axum::extract::State;
use fleetward_app::provisioning::templates::{TemplateInput, amend_template, template};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::fields::{Given, given};
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TemplateView;

/// What can change of a template. What is absent stays as it is; `null` takes the hook away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AmendProvisioningTemplate, example = json!({ "enabled": false }))]
pub(super) struct Body {
    #[schema(value_type = Option<Object>)]
    body: Option<Value>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    hook_url: Given<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    hook_ca: Given<String>,
    enabled: Option<bool>,
}

/// Change a provisioning template
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/provisioning-templates/{name}",
    operation_id = "amend_provisioning_template",
    tag = "provisioning",
    params(("tenant" = String, Path), ("name" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = TemplateView)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<TemplateView>, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let current = async { template(door.app(), ctx, tenant, &name).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    let Body { body, hook_url, hook_ca, enabled } = body.value;
    let input = TemplateInput { body: body.map(super::text), hook_url, hook_ca, enabled };
    let kept = amend_template(door.app(), ctx, tenant, &name, expected, input).await?;
    let after = template(door.app(), ctx, tenant, &name).await?;
    Ok(Tagged::ok(after.revision, TemplateView::new(after, kept.hook_secret)))
}
