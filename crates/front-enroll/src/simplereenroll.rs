//! `POST simplereenroll` (RFC 7030 §4.2.2): another certificate for the one in use, which is the only credential here.

use axum::response::Response;
use fleetward_app::App;
use fleetward_app::enroll::{Request, enroll_with_certificate};
use http::StatusCode;

use crate::refusal::Refusal;
use crate::{Asked, answer, basic, body};

pub(crate) async fn handle(app: &App, asked: &Asked<'_>) -> Result<Response, Refusal> {
    if asked.peer.leaf().is_none() {
        let text = "connect with the certificate that is to be renewed";
        let credentials = basic::credentials(asked.headers).is_some();
        return Err(if credentials { Refusal::new(StatusCode::FORBIDDEN, text) } else { Refusal::challenge(text) });
    }
    let der = body::request_der(asked.headers, asked.body)?;
    let (attempt, label) = (asked.attempt(app), asked.target.label.as_ref());
    let request = Request::new(&der, asked.channel);
    let enrolled = enroll_with_certificate(app, &attempt, label, &asked.peer.certificates, request).await?;
    Ok(answer::enrolled(app, asked.headers, &enrolled).await)
}
