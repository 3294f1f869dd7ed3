//! `POST /v1/tenants/{tenant}/certificates`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::unbound::{create_from_csr, create_with_key};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::MadeView;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;

/// A certificate for a device that is chosen later.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateCertificate, example = json!({ "csr": "-----BEGIN CERTIFICATE REQUEST-----", "active": true }))]
pub(super) struct Body {
    /// A PKCS#10 request in PEM. Its subject says nothing. Where it is absent the key is made here, if the tenant's policy
    /// allows that.
    csr: Option<String>,
    /// It counts as soon as it has its device.
    #[serde(default)]
    active: bool,
}

/// Make a certificate
///
/// It waits for its device a week long; then it is revoked.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/certificates",
    operation_id = "create_certificate",
    tag = "devices",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = MadeView)),
    extensions(("x-permission" = json!("device:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<MadeView>), Problem> {
    let (app, ctx, tenant, active) = (door.app(), &caller.ctx, &caller.tenant, body.value.active);
    let made = match &body.value.csr {
        Some(csr) => create_from_csr(app, ctx, tenant, csr, active).await?,
        None => create_with_key(app, ctx, tenant, active).await?,
    };
    Ok((StatusCode::CREATED, Answer(made.into())))
}
