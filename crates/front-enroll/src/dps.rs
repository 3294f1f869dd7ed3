//! Azure's device registration over HTTPS, for devices that have its SDK:
//!
//! ```text
//! PUT  /{idScope}/registrations/{registrationId}/register?api-version=..
//! GET  /{idScope}/registrations/{registrationId}/operations/{operationId}?api-version=..
//! POST /{idScope}/registrations/{registrationId}?api-version=..            (GET too)
//! ```
//! A device shows a shared access signature in `Authorization`, or its certificate in the hand-shake. `api-version` must be
//! there and may be any: what differs between them is which fields clients look at.

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, put};
use fleetward_app::enroll::Attempt;
use fleetward_app::enroll::dps::{Answer, Proof, Registrant, operation, register, sign_in};
use fleetward_app::{App, Error};
use fleetward_wire::azure::SasToken;
use fleetward_wire::azure::message::RegisterRequest;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use crate::served::Served;
use crate::{body, peer_of};

/// The routes; their first segment is an id scope, which no other path begins with.
pub(crate) fn served() -> [Served; 3] {
    [
        Served::new(&["PUT"], "/{scope}/registrations/{id}/register", put(put_register)),
        Served::new(&["GET"], "/{scope}/registrations/{id}/operations/{operation}", get(get_operation)),
        Served::new(&["GET", "POST"], "/{scope}/registrations/{id}", get(get_registration).post(get_registration)),
    ]
}

type Names = Path<(String, String)>;

async fn put_register(State(app): State<App>, Path((scope, id)): Names, request: Request) -> Response {
    let (head, stream) = request.into_parts();
    let outcome = async {
        let bytes = body::read(&head.headers, stream).await.map_err(|_| unread(&app))?;
        let (attempt, registrant) = who(&app, &head, &scope, &id).await?;
        let request = RegisterRequest::parse(&bytes)
            .ok_or_else(|| Answer::plain(&app, 400, 4, "The body is no registration request", None))?;
        let registration =
            register(&app, &attempt, &registrant, &request).await.map_err(|e| Answer::error(&app, &e))?;
        Ok(Answer::accepted(&registration))
    };
    respond(outcome.await)
}

async fn get_operation(
    State(app): State<App>,
    Path((scope, id, asked)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let outcome = async {
        let (attempt, registrant) = who(&app, &head, &scope, &id).await?;
        let found = operation(&app, &attempt, &registrant, Some(&asked)).await.map_err(|e| Answer::error(&app, &e))?;
        Ok(Answer::operation(found))
    };
    respond(outcome.await)
}

async fn get_registration(State(app): State<App>, Path((scope, id)): Names, request: Request) -> Response {
    let (head, stream) = request.into_parts();
    let outcome = async {
        body::read(&head.headers, stream).await.map_err(|_| unread(&app))?;
        let (attempt, registrant) = who(&app, &head, &scope, &id).await?;
        let found = operation(&app, &attempt, &registrant, None).await.map_err(|e| Answer::error(&app, &e))?;
        Ok(Answer::registration(found))
    };
    respond(outcome.await)
}

/// Who asks, for each request anew.
async fn who(app: &App, head: &Parts, scope: &str, id: &str) -> Result<(Attempt, Registrant), Answer> {
    let query = head.uri.query().unwrap_or_default();
    let version = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "api-version");
    if version.is_none_or(|(_, value)| value.is_empty()) {
        return Err(Answer::plain(app, 400, 1, "The query parameter api-version is missing", None));
    }
    let nobody = || Answer::error(app, &Error::Unauthenticated { reason: "no credential" });
    let peer = peer_of(head).ok_or_else(|| Answer::plain(app, 500, 1, "internal fault", None))?;
    let attempt = Attempt { address: peer.address.ip(), request_id: app.new_request_id() };
    let token = match head.headers.get(AUTHORIZATION) {
        Some(value) => Some(value.to_str().ok().and_then(|text| SasToken::parse(text).ok()).ok_or_else(nobody)?),
        None => None,
    };
    let proof = match &token {
        Some(token) => Proof::Signature(token),
        None if !peer.certificates.is_empty() => Proof::Certificates(&peer.certificates),
        None => return Err(nobody()),
    };
    let registrant = sign_in(app, &attempt, scope, id, proof).await.map_err(|error| Answer::error(app, &error))?;
    Ok((attempt, registrant))
}

fn unread(app: &App) -> Answer {
    Answer::plain(app, 400, 4, "The body is too large, or did not arrive whole", None)
}

fn respond(outcome: Result<Answer, Answer>) -> Response {
    let answer = outcome.unwrap_or_else(|answer| answer);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(secs) = answer.retry_after_s {
        fields.insert(RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}
