//! `POST /v1/tenants/{tenant}/factories`

use axum::extract::State;
use fleetward_app::provisioning::factories::{NewFactory, register_factory};
use fleetward_core::provisioning::Mode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::FactoryView;

/// An authority with the proof that its key is at hand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterFactory, example = json!({
    "name": "Maker",
    "certificate": "-----BEGIN CERTIFICATE-----",
    "verification": "-----BEGIN CERTIFICATE-----",
    "mode": "provision"
}))]
pub(super) struct Body {
    name: String,
    /// The authority's certificate, in PEM.
    certificate: String,
    /// A certificate in PEM that it signed, with a registration code as its common name.
    verification: String,
    /// provision (in on the first connection) or register (waits for an operator or a claim code).
    #[schema(value_type = String)]
    mode: Mode,
    /// By which records are made; without one a device has its common name and nothing else.
    template: Option<String>,
}

/// Register the authority of a factory
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/factories",
    operation_id = "register_factory",
    tag = "provisioning",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = FactoryView)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<FactoryView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, certificate, verification, mode, template } = body.value;
    let new = NewFactory { name, certificate, verification, mode, template };
    let made = register_factory(door.app(), &ctx, &tenant, new).await?;
    Ok(Tagged::created(made.revision, made.into()))
}
