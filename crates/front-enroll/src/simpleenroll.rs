//! `POST simpleenroll` (RFC 7030 §4.2.1): the first certificate, for a one-time token; or another one, for a certificate of
//! ours that came without a token.

use axum::extract::Request;
use axum::response::Response;
use fleetward_app::enroll::{Attempt, enroll_device};
use fleetward_app::{App, Peer};
use http::StatusCode;

use crate::refusal::Refusal;
use crate::target::Target;
use crate::{answer, basic, body, simplereenroll};

pub(crate) async fn handle(app: &App, target: &Target, peer: &Peer, request: Request) -> Result<Response, Refusal> {
    let credentials = match basic::credentials(request.headers()) {
        Some(Some(credentials)) => credentials,
        Some(None) => {
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the credentials are not HTTP Basic credentials"));
        }
        None if peer.leaf().is_some() => return simplereenroll::handle(app, target, peer, request).await,
        None => {
            return Err(Refusal::challenge("send the device's name and its enrolment token as HTTP Basic credentials"));
        }
    };
    let headers = request.headers().clone();
    let csr = body::request_der(request).await?;
    let attempt = Attempt { address: peer.address.ip(), request_id: app.new_request_id() };
    let enrolled = enroll_device(app, &attempt, target.label.as_ref(), &credentials, &csr).await?;
    Ok(answer::certificates(&headers, &[&enrolled.certificate]))
}
