//! `POST /v1/tenants/{tenant}/signers`

use axum::extract::State;
use fleetward_app::releases::create_signer;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::SignerView;

/// A public key; the private half never comes here.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateSigner, example = json!({
    "name": "build-server",
    "public_key": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
}))]
pub(super) struct Body {
    /// What people call it.
    name: String,
    /// Ed25519, PEM.
    public_key: String,
}

/// Accept releases signed with a key
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/signers",
    operation_id = "create_signer",
    tag = "releases",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = SignerView)),
    extensions(("x-permission" = json!("signer:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<SignerView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, public_key } = body.value;
    let made = create_signer(door.app(), &ctx, &tenant, name, &public_key).await?;
    Ok(Tagged::created(made.revision, SignerView::new(made)))
}
