//! `POST /v1/tenants/{tenant}/provisioning-templates`

use axum::extract::State;
use fleetward_app::provisioning::templates::{TemplateInput, create_template, template};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::TemplateView;

/// A template.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateProvisioningTemplate, example = json!({
    "name": "line-4",
    "body": { "Resources": { "thing": { "Type": "AWS::IoT::Thing" } } }
}))]
pub(super) struct Body {
    /// 1 to 36 of a-z, A-Z, 0-9, _ and -.
    name: String,
    /// The template as AWS has it: an object, or its text.
    #[schema(value_type = Object)]
    body: Value,
    /// Where the pre-provisioning check is asked, by HTTPS.
    hook_url: Option<String>,
    /// Certificates in PEM that the hook's server is held to.
    hook_ca: Option<String>,
    enabled: Option<bool>,
}

/// Make a provisioning template
///
/// It is read first; what in it has no meaning here is said in `warnings`.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/provisioning-templates",
    operation_id = "create_provisioning_template",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = TemplateView)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<TemplateView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, body, hook_url, hook_ca, enabled } = body.value;
    let input =
        TemplateInput { body: Some(super::text(body)), hook_url: Some(hook_url), hook_ca: Some(hook_ca), enabled };
    let kept = create_template(door.app(), &ctx, &tenant, &name, input).await?;
    let made = template(door.app(), &ctx, &tenant, &kept.name).await?;
    Ok(Tagged::created(made.revision, TemplateView::new(made, kept.hook_secret)))
}
