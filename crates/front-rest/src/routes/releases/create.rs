//! `POST /v1/tenants/{tenant}/releases`

use axum::extract::State;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::releases::create_release;
use fleetward_supply::trust::SignedRelease;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::ReleaseView;

/// A manifest and who vouches for it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateRelease, example = json!({
    "manifest": "e30=",
    "signature": "AA==",
    "key_id": "00000000000000000000000000000000"
}))]
pub(super) struct Body {
    /// The exact bytes that were signed, in base64.
    manifest: String,
    /// Ed25519 over `fleetward-release-v1`, a zero byte and the manifest; in base64.
    signature: String,
    /// First half of the SHA-256 of the raw public key, in hex.
    key_id: String,
}

impl Body {
    fn read(self) -> Result<SignedRelease, Problem> {
        let bytes =
            |field: &str, text: &str| BASE64_STANDARD.decode(text).map_err(|_| Problem::invalid(field, "not base64"));
        Ok(SignedRelease {
            manifest: bytes("manifest", &self.manifest)?,
            signature: bytes("signature", &self.signature)?,
            key_id: self.key_id.parse().map_err(|_| Problem::invalid("key_id", "not 32 lower-case hex digits"))?,
        })
    }
}

/// Register a signed release
///
/// Its artifacts must be there already, and its key one of the tenant's signers.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/releases",
    operation_id = "create_release",
    tag = "releases",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = ReleaseView)),
    extensions(("x-permission" = json!("release:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<ReleaseView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let made = create_release(door.app(), &ctx, &tenant, body.value.read()?).await?;
    Ok(Tagged::created(made.release.revision, ReleaseView::new(made)))
}
