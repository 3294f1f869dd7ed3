//! `POST simpleenroll` (RFC 7030 §4.2.1): the first certificate, for a one-time token or a factory's certificate; or another
//! one, for a certificate of ours that came without a token.

use axum::response::Response;
use fleetward_app::App;
use fleetward_app::enroll::{Request, enroll_by_password, enroll_device};
use http::StatusCode;

use crate::refusal::Refusal;
use crate::{Asked, answer, basic, body, simplereenroll};

pub(crate) async fn handle(app: &App, asked: &Asked<'_>) -> Result<Response, Refusal> {
    let (attempt, label) = (asked.attempt(app), asked.target.label.as_ref());
    let enrolled = match basic::credentials(asked.headers) {
        Some(Some(credentials)) => {
            let der = body::request_der(asked.headers, asked.body)?;
            enroll_device(app, &attempt, label, &credentials, Request::new(&der, asked.channel)).await?
        }
        Some(None) => return Err(basic::not_basic()),
        None if asked.peer.leaf().is_some() => return simplereenroll::handle(app, asked).await,
        None => {
            let Ok(der) = body::request_der(asked.headers, asked.body) else { return Err(nothing()) };
            let enrolled = enroll_by_password(app, &attempt, label, Request::new(&der, asked.channel)).await;
            enrolled.map_err(Refusal::from).map_err(|refusal| match refusal.status() {
                StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => nothing(),
                _ => refusal,
            })?
        }
    };
    Ok(answer::enrolled(app, asked.headers, &enrolled).await)
}

fn nothing() -> Refusal {
    Refusal::challenge("send the device's name and its enrolment token as HTTP Basic credentials")
}
