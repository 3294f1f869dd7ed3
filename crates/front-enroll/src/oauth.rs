//! The OAuth 2.0 device authorization grant (RFC 8628), for devices that a person lets in:
//!
//! ```text
//! POST /oauth/device_authorization   client_id={idScope}&device={name}[&csr={base64 of PKCS#10}]
//! POST /oauth/token                  grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=..&client_id=..
//! ```
//! The access token is an enrolment token: EST takes it as Bearer, or as the password of Basic. Refusals have the codes of
//! RFC 6749 §5.2 and RFC 8628 §3.5.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use fleetward_app::device_flow::{Polled, authorize_device, poll_device};
use fleetward_app::enroll::Attempt;
use fleetward_app::{App, Error};
use fleetward_pki::est;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::served::Served;
use crate::{body, peer_of};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// The routes.
pub(crate) fn served() -> [Served; 2] {
    [
        Served::new(&["POST"], "/oauth/device_authorization", post(authorize)),
        Served::new(&["POST"], "/oauth/token", post(token)),
    ]
}

/// A refusal: its status, its code, and a sentence.
struct Refused(StatusCode, &'static str, String);

fn refuse(code: &'static str, description: impl Into<String>) -> Refused {
    Refused(StatusCode::BAD_REQUEST, code, description.into())
}

async fn authorize(State(app): State<App>, request: Request) -> Response {
    let outcome = async {
        let (attempt, form) = form(&app, request).await?;
        let client_id = form.get("client_id").ok_or_else(|| refuse("invalid_request", "client_id is missing"))?;
        let csr = form.get("csr").map(|text| est::decode(text.as_bytes())).transpose();
        let csr = csr.map_err(|_| refuse("invalid_request", "csr is no base64 of a PKCS#10"))?;
        let device = form.get("device").map(String::as_str);
        let asked = authorize_device(&app, &attempt, client_id, device, csr.as_deref()).await.map_err(refusal)?;
        Ok(json!({
            "device_code": asked.device_code.expose(),
            "user_code": asked.user_code,
            "verification_uri": asked.verification_uri,
            "verification_uri_complete": asked.verification_uri_complete,
            "expires_in": asked.expires_in.as_secs(),
            "interval": asked.interval_s,
        }))
    };
    respond(outcome.await)
}

async fn token(State(app): State<App>, request: Request) -> Response {
    let outcome = async {
        let (attempt, form) = form(&app, request).await?;
        if form.get("grant_type").is_none_or(|grant| grant != GRANT) {
            return Err(refuse("unsupported_grant_type", format!("only {GRANT} is offered")));
        }
        let code = form.get("device_code").ok_or_else(|| refuse("invalid_request", "device_code is missing"))?;
        match poll_device(&app, &attempt, code).await.map_err(refusal)? {
            Polled::Granted(granted) => Ok(json!({
                "access_token": granted.token.expose(),
                "token_type": "Bearer",
                "expires_in": granted.expires_in.as_secs(),
                "device": granted.device,
            })),
            Polled::Pending => Err(refuse("authorization_pending", "nobody has decided yet")),
            Polled::SlowDown { interval_s } => Err(refuse("slow_down", format!("wait {interval_s} s between polls"))),
            Polled::Denied => Err(refuse("access_denied", "a person refused this device")),
            Polled::Expired => Err(refuse("expired_token", "nobody decided in time; begin again")),
            Polled::Unknown => Err(refuse("invalid_grant", "there is no such device_code")),
        }
    };
    respond(outcome.await)
}

/// The fields of a form; one that comes twice is refused (RFC 6749 §3.2).
async fn form(app: &App, request: Request) -> Result<(Attempt, HashMap<String, String>), Refused> {
    let (head, stream) = request.into_parts();
    let bytes = body::read(&head.headers, stream)
        .await
        .map_err(|_| refuse("invalid_request", "the body is too large, or did not arrive whole"))?;
    if !body::is_of(&head.headers, "application/x-www-form-urlencoded") {
        return Err(refuse("invalid_request", "send application/x-www-form-urlencoded"));
    }
    let mut fields = HashMap::new();
    for (name, value) in form_urlencoded::parse(&bytes) {
        if fields.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(refuse("invalid_request", "a field comes twice"));
        }
    }
    let nobody = || Refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error", String::new());
    let peer = peer_of(&head).ok_or_else(nobody)?;
    let attempt = Attempt { address: peer.address.ip(), request_id: app.new_request_id() };
    Ok((attempt, fields))
}

/// Meanings in the codes of OAuth.
fn refusal(error: Error) -> Refused {
    let text = error.to_string();
    match error {
        Error::Unauthenticated { .. } => Refused(StatusCode::UNAUTHORIZED, "invalid_client", "no such client".into()),
        Error::Invalid { .. } | Error::Untrusted { .. } | Error::Stale { .. } | Error::TooLarge { .. } => {
            refuse("invalid_request", text)
        }
        Error::Denied { .. } | Error::Conflict { .. } => refuse("access_denied", text),
        Error::NotFound { .. } => refuse("invalid_grant", text),
        Error::TooMany { .. } => Refused(StatusCode::TOO_MANY_REQUESTS, "slow_down", text),
        Error::Pending { .. } => refuse("authorization_pending", text),
        Error::StorageFull | Error::Unavailable { .. } => {
            Refused(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", text)
        }
        Error::Internal(cause) => {
            tracing::error!(%cause, "the device flow failed");
            Refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error", text)
        }
    }
}

fn respond(outcome: Result<Value, Refused>) -> Response {
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, body),
        Err(Refused(status, code, description)) => (status, json!({ "error": code, "error_description": description })),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // RFC 6749 §5.1.
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        fields.insert(RETRY_AFTER, HeaderValue::from_static("10"));
    }
    response
}
