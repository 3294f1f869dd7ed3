//! `POST /v1/tenants/{tenant}/certificates/{certificate}/state`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::unbound::{certificate, set_state};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{StateView, View};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, CertificateId};
use crate::problem::Problem;

/// How a certificate is to stand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetCertificateState, example = json!({ "state": "inactive" }))]
pub(super) struct Body {
    state: StateView,
}

/// Make a certificate count, or not
///
/// The session that was opened with it ends. What was revoked stays so.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/certificates/{certificate}/state",
    operation_id = "set_certificate_state",
    tag = "devices",
    params(("tenant" = String, Path), ("certificate" = String, Path)),
    request_body = Body,
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
    body: Json<Body>,
) -> Result<Answer<View>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, &caller.tenant);
    set_state(app, ctx, tenant, &id, body.value.state.into()).await?;
    Ok(Answer(certificate(app, ctx, tenant, &id).await?.into()))
}
