//! Attestation on the devices' door: `POST /v1/attest/challenge`, `/v1/attest/activate`, `/v1/attest/activate/proof` and
//! `/v1/attest`.
//!
//! The client certificate says who asks, for each request anew; a device that is held back is let in here, since this is
//! its way out. Whoever has no certificate yet shows its TPM with the credential that it will enrol with (HTTP Basic, as at
//! EST), and gets no further than that. Refusals are the problem documents of the operators' API. Bytes are base64.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::attestation::{self, Endorsement};
use fleetward_app::enroll::{Attempt, Credentials};
use fleetward_app::{App, Ctx, Peer};
use fleetward_attest::Evidence;
use fleetward_attest::evidence::Bytes;
use fleetward_attest::messages::{Activation, Challenge, Keys, Proof, Proven, Verdict};
use fleetward_base::{RequestId, Secret, TenantId, limits};
use http::header::AUTHORIZATION;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::body::{parse, read};
use crate::device_caller::{asked, device};
use crate::listing::read_query;
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

async fn challenge(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let ctx = device(&app, &parts).await?;
    let made = attestation::challenge(&app, &ctx).await?;
    Ok(answer(&Challenge {
        nonce: Bytes(made.nonce),
        ttl: made.ttl.as_secs(),
        formats: made.formats.iter().map(|&format| format.to_owned()).collect(),
        pcrs: made.pcrs.into_iter().collect(),
    }))
}

async fn activate(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (who, keys) = shown::<Keys>(&app, request).await?;
    let shown = Endorsement::from(keys);
    let made = match &who {
        Who::Device(ctx) => attestation::begin_activation(&app, ctx, shown).await?,
        Who::Newcomer { attempt, tenant, credentials } => {
            attestation::begin_introduction(&app, attempt, tenant.as_ref(), credentials, shown).await?
        }
    };
    let ttl = limits::ATTESTATION_CHALLENGE_TTL.as_secs();
    Ok(answer(&Activation { credential: Bytes(made.credential), secret: Bytes(made.secret), ttl }))
}

async fn prove(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (who, Proof { secret, certified }) = shown::<Proof>(&app, request).await?;
    let secret = Secret::new(secret.0);
    let (certificate, until) = match &who {
        Who::Device(ctx) => {
            let proven = attestation::prove_activation(&app, ctx, secret, certified.as_ref()).await?;
            (proven.certificate, proven.certified_until)
        }
        Who::Newcomer { attempt, tenant, credentials } => {
            let why = "whoever has no certificate yet shows the key that it is to be about";
            let certified = certified.ok_or_else(|| Problem::invalid("certified", why))?;
            let (label, key) = (tenant.as_ref(), &certified);
            let until = attestation::prove_introduction(&app, attempt, label, credentials, secret, key).await?;
            (None, Some(until))
        }
    };
    let certified_for = until.map(|until| until.since(app.now()).as_secs());
    Ok(answer(&Proven { certificate: certificate.map(Bytes), certified_for }))
}

async fn attest(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (ctx, evidence) = asked::<Evidence>(&app, request, limits::ATTESTATION_BYTES).await?;
    let outcome = attestation::submit_evidence(&app, &ctx, evidence).await?;
    Ok(answer(&Verdict {
        verdict: outcome.verdict.to_string(),
        reasons: outcome.reasons.iter().map(ToString::to_string).collect(),
        restricted: outcome.restricted,
        due_in: outcome.due.map(|at| at.since(app.now()).as_secs()),
    }))
}

fn answer<T: Serialize>(body: &T) -> Response {
    Json(body).into_response()
}

/// Who shows a TPM.
enum Who {
    Device(Ctx),
    /// Nobody yet, with the credential that it is going to enrol with.
    Newcomer {
        attempt: Attempt,
        tenant: Option<TenantId>,
        credentials: Credentials,
    },
}

/// The parameters of a newcomer's request.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Home {
    /// For credentials that do not say it themselves.
    tenant: Option<String>,
}

async fn shown<T: DeserializeOwned>(app: &App, request: Request) -> Result<(Who, T), Problem> {
    let (parts, body): (Parts, Body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().ok_or_else(Problem::internal)?;
    let who = match credentials(&parts) {
        Some(credentials) if peer.leaf().is_none() => {
            let Home { tenant } = read_query(parts.uri.query().unwrap_or_default())?;
            let tenant = tenant.map(|name| name.parse::<TenantId>()).transpose();
            let tenant = tenant.map_err(|_| Problem::invalid("tenant", "not the name of a tenant"))?;
            let request_id = parts.extensions.get::<RequestId>().copied().ok_or_else(Problem::internal)?;
            let attempt = Attempt { address: peer.address.ip(), request_id };
            Who::Newcomer { attempt, tenant, credentials }
        }
        _ => Who::Device(device(app, &parts).await?),
    };
    let bytes = read(&parts.headers, body, limits::ATTESTATION_BYTES).await?;
    Ok((who, parse(&bytes)?))
}

/// A device's name and its enrolment token or key, by HTTP Basic as at EST.
fn credentials(parts: &Parts) -> Option<Credentials> {
    let (scheme, encoded) = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = Secret::new(String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?);
    let (device, token) = pair.expose().split_once(':')?;
    Some(Credentials { device: device.to_owned(), token: Secret::new(token.to_owned()) })
}
