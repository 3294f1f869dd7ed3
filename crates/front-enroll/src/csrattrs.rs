//! `GET csrattrs` (RFC 7030 §4.5): what a request to this tenant should have. Anyone may ask.

use axum::response::{IntoResponse, Response};
use fleetward_app::App;
use fleetward_app::identity_policy::identity_policy;
use fleetward_core::identity_policy::ChallengePassword;
use fleetward_pki::csrattrs;
use http::StatusCode;

use crate::refusal::Refusal;
use crate::{Asked, answer, cacerts};

const CSR_ATTRS: &str = "application/csrattrs";

pub(crate) async fn handle(app: &App, asked: &Asked<'_>) -> Result<Response, Refusal> {
    // Without a tenant there is nothing in particular to ask for (RFC 7030 §4.5.2).
    let Some(tenant) = cacerts::tenant_of(app, asked)? else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let policy = identity_policy(app, &tenant).await?;
    let bound = policy.est.challenge_password == ChallengePassword::Required;
    Ok(answer::base64(CSR_ATTRS, &csrattrs::write(bound), answer::layout(asked.headers, policy.est.layout)))
}
