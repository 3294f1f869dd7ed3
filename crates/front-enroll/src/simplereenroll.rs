//! `POST simplereenroll` (RFC 7030 §4.2.2): another certificate for the one in use, which is the only credential here.

use axum::extract::Request;
use axum::response::Response;
use fleetward_app::enroll::{Attempt, reenroll_device};
use fleetward_app::{App, Peer};
use http::StatusCode;

use crate::refusal::Refusal;
use crate::target::Target;
use crate::{answer, basic, body};

pub(crate) async fn handle(app: &App, target: &Target, peer: &Peer, request: Request) -> Result<Response, Refusal> {
    let Some(leaf) = peer.leaf() else {
        let text = "connect with the certificate that is to be renewed";
        let credentials = basic::credentials(request.headers()).is_some();
        return Err(if credentials { Refusal::new(StatusCode::FORBIDDEN, text) } else { Refusal::challenge(text) });
    };
    let headers = request.headers().clone();
    let csr = body::request_der(request).await?;
    let attempt = Attempt { address: peer.address.ip(), request_id: app.new_request_id() };
    let enrolled = reenroll_device(app, &attempt, target.label.as_ref(), leaf, &csr).await?;
    Ok(answer::certificates(&headers, &[&enrolled.certificate]))
}
