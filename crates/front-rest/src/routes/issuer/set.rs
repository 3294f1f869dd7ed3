//! `PUT /v1/tenants/{tenant}/issuer`

use axum::extract::State;
use fleetward_app::authority::Credential;
use fleetward_app::issuers::{issuer, set_issuer};
use fleetward_base::Secret;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::problem::Problem;
use crate::view::IssuerView;

/// Who is to sign from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetIssuer, example = json!({ "issuer": { "kind": "built-in" } }))]
pub(super) struct Body {
    /// `kind` is `built-in`, `step-ca`, `vault` or `cfssl`; all but the first have `url`, `tls_ca` and `authorities` (PEM).
    #[schema(value_type = Object)]
    issuer: Value,
    /// Absent: what is kept stays, as long as the address does.
    #[serde(default)]
    credential: Option<CredentialBody>,
}

/// What the issuer knows us by; it is kept sealed and never shown.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = IssuerCredential)]
struct CredentialBody {
    /// step-ca: the private key of a JWK provisioner, as JSON.
    jwk: Option<String>,
    /// Vault.
    token: Option<String>,
    /// Vault: an AppRole, with `secret_id`.
    role_id: Option<String>,
    secret_id: Option<String>,
    /// cfssl: hexadecimal.
    auth_key: Option<String>,
}

impl From<CredentialBody> for Credential {
    fn from(body: CredentialBody) -> Self {
        Self {
            jwk: body.jwk.map(Secret::new),
            token: body.token.map(Secret::new),
            role_id: body.role_id.map(Secret::new),
            secret_id: body.secret_id.map(Secret::new),
            auth_key: body.auth_key.map(Secret::new),
        }
    }
}

/// Have somebody else sign
///
/// What was signed before counts until its end. Only an administrator of the installation may: the server will ask
/// whatever address it is given here.
#[utoipa::path(
    put,
    path = "/v1/tenants/{tenant}/issuer",
    operation_id = "set_issuer",
    tag = "tenants",
    params(("tenant" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    request_body = Body,
    responses((status = 200, body = IssuerView)),
    extensions(("x-permission" = json!("issuer:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<IssuerView>, Problem> {
    let (app, ctx, tenant) = (door.app(), &caller.ctx, &caller.tenant);
    let current = async { issuer(app, ctx, tenant).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    // The text of the fault names fields and kinds, and no value of a secret: there is none in this part.
    let config =
        serde_json::from_value(body.value.issuer).map_err(|error| Problem::invalid("issuer", error.to_string()))?;
    let credential = body.value.credential.map(Credential::from);
    let found = set_issuer(app, ctx, tenant, expected, config, credential).await?;
    Ok(Tagged::ok(found.revision, IssuerView::new(found)))
}
