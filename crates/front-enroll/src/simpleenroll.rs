//! `POST simpleenroll` (RFC 7030 §4.2.1): the first certificate, for a one-time token; or another one, for a certificate of
//! ours that came without a token.

use axum::response::Response;
use fleetward_app::App;
use fleetward_app::enroll::{Attempt, enroll_device};
use http::StatusCode;

use crate::refusal::Refusal;
use crate::{Asked, answer, basic, body, simplereenroll};

pub(crate) async fn handle(app: &App, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let credentials = match basic::credentials(asked.headers) {
        Some(Some(credentials)) => credentials,
        Some(None) => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the credentials are not HTTP Basic credentials"));
        }
        None if asked.peer.leaf().is_some() => return simplereenroll::handle(app, asked).await,
        None => {
            return Err(Refusal::challenge("send the device's name and its enrolment token as HTTP Basic credentials"));
        }
    };
    let csr = body::request_der(asked.headers, asked.body)?;
    let attempt = Attempt { address: asked.peer.address.ip(), request_id: app.new_request_id() };
    let enrolled = enroll_device(app, &attempt, asked.target.label.as_ref(), &credentials, &csr).await?;
    Ok(answer::certificates(asked.headers, &[&enrolled.certificate]))
}
