//! `POST /v1/tenants/{tenant}/attestation-anchors`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::attestation::{AnchorKind, NewAnchor, add_anchor};
use fleetward_core::attestation::RootOfTrust;
use http::StatusCode;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::AttestationAnchorView;

/// A root, a key or the hash of one. Which of the last three fields is given depends on the kind.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddAttestationAnchor, example = json!({
    "kind": "endorsement-key",
    "name": "bench-7",
    "sha256": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"
}))]
pub(super) struct Body {
    /// tpm-root, endorsement-key, token-key or dice-root.
    kind: String,
    /// What people call it.
    name: String,
    /// What stands on it: none, software, tee, tpm2 or secure-element. By default tpm2 for TPMs, software for keys of
    /// tokens, secure-element for roots of DICE.
    #[schema(value_type = Option<String>)]
    root_of_trust: Option<RootOfTrust>,
    /// PEM, for tpm-root and dice-root.
    certificate: Option<String>,
    /// PEM, for token-key.
    public_key: Option<String>,
    /// SHA-256 of the SubjectPublicKeyInfo in hex, for endorsement-key.
    sha256: Option<String>,
}

/// Believe evidence that something vouches for
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/attestation-anchors",
    operation_id = "add_attestation_anchor",
    tag = "attestation",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = AttestationAnchorView)),
    extensions(("x-permission" = json!("attestation:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<AttestationAnchorView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let made = add_anchor(door.app(), &ctx, &tenant, new(body.value)?).await?;
    Ok((StatusCode::CREATED, Answer(AttestationAnchorView::new(made))))
}

fn new(body: Body) -> Result<NewAnchor, Problem> {
    let Body { kind, name, root_of_trust, certificate, public_key, sha256 } = body;
    let kind: AnchorKind =
        kind.parse().map_err(|()| Problem::invalid("kind", "tpm-root, endorsement-key, token-key or dice-root"))?;
    let (field, value) = match kind {
        AnchorKind::TpmRoot | AnchorKind::DiceRoot => {
            let der = certificate.and_then(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
            ("certificate", der.map(|der| der.to_vec()))
        }
        AnchorKind::TokenKey => {
            let der = public_key.and_then(|pem| SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok());
            ("public_key", der.map(|der| der.to_vec()))
        }
        AnchorKind::EndorsementKey => ("sha256", sha256.as_deref().and_then(fleetward_attest::evidence::unhex)),
    };
    let value = value.ok_or_else(|| Problem::invalid(field, "missing, or not of its form"))?;
    Ok(NewAnchor { kind, name, value, root: root_of_trust })
}
