//! `PATCH /v1/tenants/{tenant}/factories/{certificate}`

use axum::extract::State;
use fleetward_app::provisioning::factories::{FactoryChange, amend_factory, factory};
use fleetward_core::provisioning::Mode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::fields::{Given, given};
use crate::path::{At, CertificateId};
use crate::problem::Problem;
use crate::view::FactoryView;

/// What can change of an authority. What is absent stays as it is; `null` takes the template away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AmendFactory, example = json!({ "enabled": false }))]
pub(super) struct Body {
    name: Option<String>,
    /// provision or register.
    #[schema(value_type = Option<String>)]
    mode: Option<Mode>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    template: Given<String>,
    /// Where not, nobody new is let in; devices that came with it stay.
    enabled: Option<bool>,
}

/// Change what happens to the devices of a factory
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/factories/{certificate}",
    operation_id = "amend_factory",
    tag = "provisioning",
    params(("tenant" = String, Path), ("certificate" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = FactoryView)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<FactoryView>, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let current = async { factory(door.app(), ctx, tenant, &id).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    let Body { name, mode, template, enabled } = body.value;
    let change = FactoryChange { name, mode, template, enabled };
    let after = amend_factory(door.app(), ctx, tenant, &id, expected, change).await?;
    Ok(Tagged::ok(after.revision, after.into()))
}
