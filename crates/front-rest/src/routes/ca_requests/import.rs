//! `POST /v1/ca-requests/import`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::offline_root::import;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::CaImportView;

/// What the offline root signed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ImportCertificates, example = json!({
    "certificates": "-----BEGIN CERTIFICATE-----\nMIIB...\n-----END CERTIFICATE-----\n"
}))]
pub(super) struct Body {
    /// PEM; 16 at most. Roots that are known, which come along in a chain, are passed over.
    certificates: String,
}

/// Take in what the offline root signed
///
/// All or none. Each is held to the request that it answers: key, name, root, time and rights.
#[utoipa::path(
    post,
    path = "/v1/ca-requests/import",
    operation_id = "import_ca_certificates",
    tag = "tenants",
    request_body = Body,
    responses((status = 200, body = CaImportView)),
    extensions(("x-permission" = json!("ca:root"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: Caller,
    body: Json<Body>,
) -> Result<Answer<CaImportView>, Problem> {
    let ctx = caller.once(&body);
    let done = import(door.app(), &ctx, &body.value.certificates).await?;
    Ok(Answer(CaImportView::from(done)))
}
