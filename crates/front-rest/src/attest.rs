//! Attestation on the devices' door: `POST /v1/attest/challenge`, `/v1/attest/activate`, `/v1/attest/activate/proof` and
//! `/v1/attest`.
//!
//! The client certificate says who asks, for each request anew; a device that is held back is let in here, since this is
//! its way out. Refusals are the problem documents of the operators' API. Bytes are base64.

use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::App;
use fleetward_app::attestation::{self, Endorsement};
use fleetward_attest::Evidence;
use fleetward_attest::evidence::Bytes;
use fleetward_base::{Secret, limits};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::device_caller::{asked, device};
use crate::problem::Problem;
use crate::request::{self, Naming};

/// The routes. Requests carry the peer of their connection as an extension.
pub fn router(app: App) -> Router {
    let naming = Naming { clock: app.clock().clone(), rng: app.rng().clone() };
    Router::new()
        .route("/v1/attest/challenge", post(challenge))
        .route("/v1/attest/activate", post(activate))
        .route("/v1/attest/activate/proof", post(prove))
        .route("/v1/attest", post(attest))
        .with_state(app)
        .layer(from_fn_with_state(naming, request::serve))
}

/// A TPM's keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// TPMT_PUBLIC of the endorsement key.
    endorsement: Bytes,
    /// DER.
    certificate: Option<Bytes>,
    /// DER of what stands between it and the maker's root.
    #[serde(default)]
    chain: Vec<Bytes>,
    /// TPMT_PUBLIC of the attestation key.
    attestation: Bytes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proof {
    secret: Bytes,
}

async fn challenge(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let ctx = device(&app, &parts).await?;
    let made = attestation::challenge(&app, &ctx).await?;
    Ok(answer(json!({
        "nonce": BASE64_STANDARD.encode(made.nonce),
        "ttl": made.ttl.as_secs(),
        "formats": made.formats,
        "pcrs": made.pcrs,
    })))
}

async fn activate(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (ctx, keys) = asked::<Keys>(&app, request, limits::ATTESTATION_BYTES).await?;
    let shown = Endorsement {
        public: keys.endorsement.0,
        certificate: keys.certificate.map(|der| der.0),
        chain: keys.chain.into_iter().map(|der| der.0).collect(),
        attestation: keys.attestation.0,
    };
    let made = attestation::begin_activation(&app, &ctx, shown).await?;
    Ok(answer(json!({
        "credential": BASE64_STANDARD.encode(made.credential),
        "secret": BASE64_STANDARD.encode(made.secret),
        "ttl": limits::ATTESTATION_CHALLENGE_TTL.as_secs(),
    })))
}

async fn prove(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (ctx, proof) = asked::<Proof>(&app, request, limits::ATTESTATION_BYTES).await?;
    let certificate = attestation::prove_activation(&app, &ctx, Secret::new(proof.secret.0)).await?;
    Ok(answer(json!({ "certificate": BASE64_STANDARD.encode(certificate) })))
}

async fn attest(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (ctx, evidence) = asked::<Evidence>(&app, request, limits::ATTESTATION_BYTES).await?;
    let outcome = attestation::submit_evidence(&app, &ctx, evidence).await?;
    let reasons: Vec<String> = outcome.reasons.iter().map(ToString::to_string).collect();
    Ok(answer(json!({
        "verdict": outcome.verdict.as_str(),
        "reasons": reasons,
        "restricted": outcome.restricted,
        "due_in": outcome.due.map(|at| at.since(app.now()).as_secs()),
    })))
}

fn answer(body: Value) -> Response {
    Json(body).into_response()
}
