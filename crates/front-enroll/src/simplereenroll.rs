//! `POST simplereenroll` (RFC 7030 §4.2.2): another certificate for the one in use, which is the only credential here.

use axum::response::Response;
use fleetward_app::App;
use fleetward_app::enroll::{Attempt, reenroll_device};
use http::StatusCode;

use crate::refusal::Refusal;
use crate::{Asked, answer, basic, body};

pub(crate) async fn handle(app: &App, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let Some(leaf) = asked.peer.leaf() else {
        let text = "connect with the certificate that is to be renewed";
        let credentials = basic::credentials(asked.headers).is_some();
        return Err(if credentials { Refusal::new(StatusCode::FORBIDDEN, text) } else { Refusal::challenge(text) });
    };
    let csr = body::request_der(asked.headers, asked.body)?;
    let attempt = Attempt { address: asked.peer.address.ip(), request_id: app.new_request_id() };
    let enrolled = reenroll_device(app, &attempt, asked.target.label.as_ref(), leaf, &csr).await?;
    Ok(answer::certificates(asked.headers, &[&enrolled.certificate]))
}
