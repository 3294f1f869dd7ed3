//! `/broker/..`: what an external MQTT broker asks, in the words of the plugins that there are.
//!
//! | route | who asks so | answer |
//! |---|---|---|
//! | `POST /broker/authn`, `/broker/authz` | EMQX's HTTP authenticator and authorizer, and anything new | 200 and `{"result": "allow"}`, `deny` or `ignore` |
//! | `POST /broker/user`, `/broker/superuser`, `/broker/acl` | mosquitto-go-auth's HTTP backend, in JSON or as a form | 200 or 403 |
//! | `GET /broker/acl` | somebody who writes Mosquitto's `acl_file` | the file |
//!
//! The broker shows an API token with the role `broker`, which is good for this and for nothing else: as a bearer, or as the password
//! of HTTP Basic for plugins that can say no more than `http://x:TOKEN@host`. Fields that a plugin sends besides are passed over.

mod asked;

use axum::Json;
use axum::Router;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::Ctx;
use fleetward_app::external_broker::{Answer, Welcome, access_list, may_act, may_connect};
use fleetward_base::limits;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::body::read;
use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use asked::{Access, Connection, Fields, Topic};

pub(crate) fn routes() -> Router<Door> {
    Router::new()
        .route("/broker/authn", post(authn))
        .route("/broker/authz", post(authz))
        .route("/broker/user", post(user))
        .route("/broker/superuser", post(superuser))
        .route("/broker/acl", post(acl).get(list))
}

/// A broker that asks.
struct Asking(Ctx);

impl FromRequestParts<Door> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Problem> {
        if let Some(token) = basic_password(&parts.headers) {
            let value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Problem::unauthenticated())?;
            parts.headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Self(Caller::from_request_parts(parts, door).await?.ctx))
    }
}

/// The password of `Authorization: Basic ..` (RFC 7617).
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let (scheme, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(text.trim()).ok()).flatten()?;
    Some(String::from_utf8(decoded).ok()?.split_once(':')?.1.to_owned())
}

async fn fields(request: Request) -> Result<Fields, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, limits::REST_BODY_BYTES).await?;
    let form = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = form.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    Fields::parse(&bytes, form).map_err(|bad| Problem::malformed(bad.to_string()))
}

async fn connecting(door: &Door, ctx: &Ctx, request: Request, named_by_tls: bool) -> Result<Answer<Welcome>, Problem> {
    let fields = fields(request).await?;
    let connection = Connection::of(&fields).map_err(|bad| Problem::malformed(bad.to_string()))?;
    Ok(may_connect(door.app(), ctx, &connection.client(named_by_tls)).await?)
}

async fn authn(State(door): State<Door>, Asking(ctx): Asking, request: Request) -> Result<Json<Value>, Problem> {
    let answer = connecting(&door, &ctx, request, false).await?;
    Ok(Json(match answer {
        Answer::Allow(Welcome { device, until, .. }) => {
            let mut body = json!({ "result": "allow", "is_superuser": false, "device": device });
            if let (Some(until), Some(fields)) = (until, body.as_object_mut()) {
                fields.insert("expire_at".to_owned(), until.secs().into());
            }
            body
        }
        Answer::Deny => json!({ "result": "deny" }),
        Answer::Ignore => json!({ "result": "ignore" }),
    }))
}

async fn authz(State(door): State<Door>, Asking(ctx): Asking, request: Request) -> Result<Json<Value>, Problem> {
    let fields = fields(request).await?;
    let asked = Access::of(&fields).map_err(|bad| Problem::malformed(bad.to_string()))?;
    let (act, topic) = asked.act();
    let answer = may_act(door.app(), &ctx, &asked.name, act, topic).await?;
    let word = match answer {
        Answer::Allow(()) => "allow",
        Answer::Deny => "deny",
        Answer::Ignore => "ignore",
    };
    Ok(Json(json!({ "result": word })))
}

/// A password is not asked for: TLS has said who it is, or a token stands in its place.
async fn user(State(door): State<Door>, Asking(ctx): Asking, request: Request) -> Result<Response, Problem> {
    Ok(status(matches!(connecting(&door, &ctx, request, true).await?, Answer::Allow(_))))
}

/// No device is one. It is asked all the same, so that a token that is no good is noticed.
async fn superuser(_: State<Door>, _: Asking) -> Response {
    status(false)
}

async fn acl(State(door): State<Door>, Asking(ctx): Asking, request: Request) -> Result<Response, Problem> {
    let fields = fields(request).await?;
    let asked = Topic::of(&fields).map_err(|bad| Problem::malformed(bad.to_string()))?;
    let mut may = true;
    for (act, topic) in asked.acts() {
        may &= may_act(door.app(), &ctx, &asked.name, act, topic).await? == Answer::Allow(());
    }
    Ok(status(may))
}

async fn list(State(door): State<Door>, Asking(ctx): Asking) -> Result<Response, Problem> {
    let text = access_list(door.app(), &ctx)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

fn status(may: bool) -> Response {
    if may { StatusCode::OK } else { StatusCode::FORBIDDEN }.into_response()
}
