//! The page where a person lets a device in: `/activate` (RFC 8628 §3.3), on the operators' port.
//!
//! Plain HTML without script, style or cookie. Who decides pastes an API token into the form; it is used for that request
//! alone, and the page that asks for the decision carries it sealed, bound to this one request and for a few minutes. As
//! nothing is known of the browser, no other site can have it decide anything. Everything that came from a device is
//! escaped.

use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_app::enrollment_requests::{EnrollmentRequest, decide_enrollment, enrollment_request};
use fleetward_app::{Ctx, Error, Peer, Principal, api_tokens};
use fleetward_base::{RequestId, TenantId, Timestamp};
use fleetward_core::approval::{Decision, read_user_code};
use fleetward_vault::Purpose;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::body::read;
use crate::door::Door;

const FORM_BYTES: usize = 16 * 1024;
/// How long a person may think.
const TICKET_LIFE: Duration = Duration::from_secs(300);
const POLICY: &str = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(crate) fn routes() -> Router<Door> {
    Router::new().route("/activate", get(form).post(look)).route("/activate/decide", post(decide))
}

/// What goes with the page that asks for the decision, sealed.
#[derive(Serialize, Deserialize)]
struct Ticket {
    token: String,
    tenant: TenantId,
    /// What was looked at, by its code: a request that came anew meanwhile has another one, and was not looked at.
    user_code: String,
    until: Timestamp,
}

async fn form(request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "user_code");
    let code = code.and_then(|(_, code)| read_user_code(&code)).unwrap_or_default();
    page(StatusCode::OK, &ask(&code, ""))
}

async fn look(State(door): State<Door>, request: Request) -> Response {
    let outcome = async {
        let (fields, caller) = fields(&door, request).await?;
        let token = field(&fields, "token");
        let ctx = sign_in(&door, &caller, token).await?;
        let tenant = tenant(&ctx, field(&fields, "tenant"))?;
        let found = enrollment_request(door.app(), &ctx, &tenant, field(&fields, "user_code")).await?;
        let until = door.app().now().plus(TICKET_LIFE);
        let ticket = Ticket { token: token.to_owned(), tenant, user_code: found.user_code.clone(), until };
        Ok((seal(&door, &ticket)?, found))
    };
    match outcome.await {
        Ok((ticket, found)) => page(StatusCode::OK, &confirm(&found, &ticket)),
        Err(error) => refused(error),
    }
}

async fn decide(State(door): State<Door>, request: Request) -> Response {
    let outcome = async {
        let (fields, caller) = fields(&door, request).await?;
        let decision: Decision =
            field(&fields, "decision").parse().map_err(|_| Error::invalid("decision", "approve or deny"))?;
        let ticket = open(&door, field(&fields, "ticket"))?;
        // The token may have been taken back while somebody was thinking.
        let ctx = sign_in(&door, &caller, &ticket.token).await?;
        decide_enrollment(door.app(), &ctx, &ticket.tenant, &ticket.user_code, decision, None).await
    };
    match outcome.await {
        Ok(decided) => {
            let text = format!("<p>{} is {}.</p>", escape(decided.device.as_str()), escape(decided.state));
            page(StatusCode::OK, &text)
        }
        Err(error) => refused(error),
    }
}

/// From where a request came, and its id.
struct From {
    peer: Option<Peer>,
    request_id: RequestId,
}

type Fields = Vec<(String, String)>;

async fn fields(door: &Door, request: Request) -> Result<(Fields, From), Error> {
    let (parts, body) = request.into_parts();
    let bytes =
        read(&parts.headers, body, FORM_BYTES).await.map_err(|_| Error::invalid("", "the form is too large"))?;
    let fields = form_urlencoded::parse(&bytes).into_owned().collect();
    let request_id = parts.extensions.get::<RequestId>().copied().unwrap_or_else(|| door.app().new_request_id());
    Ok((fields, From { peer: parts.extensions.get::<Peer>().cloned(), request_id }))
}

fn field<'a>(fields: &'a Fields, name: &str) -> &'a str {
    fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim())
}

/// As at every other route: a wrong token costs its address a part of its allowance.
async fn sign_in(door: &Door, from: &From, token: &str) -> Result<Ctx, Error> {
    let address = from.peer.as_ref().map(|peer| peer.address.ip());
    if door.may_sign_in(address).is_err() {
        return Err(Error::TooMany { what: "failed sign-ins from this address", retry_after: Duration::from_secs(60) });
    }
    match api_tokens::authenticate(door.app(), token).await {
        Ok(principal) => Ok(Ctx { principal, request_id: from.request_id, address, idempotency: None }),
        Err(error) => {
            if matches!(error, Error::Unauthenticated { .. }) {
                door.sign_in_failed(address);
            }
            Err(error)
        }
    }
}

fn tenant(ctx: &Ctx, named: &str) -> Result<TenantId, Error> {
    match &ctx.principal {
        Principal::Operator { tenant: Some(home), .. } => Ok(home.clone()),
        _ => named.parse().map_err(|_| Error::invalid("tenant", "a token of the installation needs the tenant's name")),
    }
}

const BOUND: [&str; 2] = ["", "activate"];

fn seal(door: &Door, ticket: &Ticket) -> Result<String, Error> {
    let plain = serde_json::to_vec(ticket).map_err(Error::internal)?;
    let app = door.app();
    let sealed = app.vault().seal(app.rng().as_ref(), Purpose::Response, &BOUND, &plain).map_err(Error::internal)?;
    Ok(URL_SAFE_NO_PAD.encode(sealed))
}

fn open(door: &Door, text: &str) -> Result<Ticket, Error> {
    let stale = || Error::invalid("ticket", "this page is too old; begin again");
    let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| stale())?;
    let plain = door.app().vault().open(Purpose::Response, &BOUND, &sealed).map_err(|_| stale())?;
    let ticket: Ticket = serde_json::from_slice(plain.expose()).map_err(|_| stale())?;
    if ticket.until <= door.app().now() {
        return Err(stale());
    }
    Ok(ticket)
}

fn ask(code: &str, note: &str) -> String {
    format!(
        "{note}<form method=\"post\" action=\"/activate\">\
         <p><label>Code that the device shows <input name=\"user_code\" value=\"{}\" autocomplete=\"off\" required></label></p>\
         <p><label>Your API token <input name=\"token\" type=\"password\" autocomplete=\"off\" required></label></p>\
         <p><label>Tenant, for a token of the installation <input name=\"tenant\" autocomplete=\"off\"></label></p>\
         <p><button>Look</button></p></form>",
        escape(code)
    )
}

fn confirm(found: &EnrollmentRequest, ticket: &str) -> String {
    let mut rows = String::new();
    let mut row = |name: &str, value: &str| {
        rows.push_str(&format!("<tr><th>{name}</th><td>{}</td></tr>", escape(value)));
    };
    row("Device", found.device.as_str());
    row("Code", &found.user_code);
    row("Key (SHA-256)", found.key_fingerprint.as_deref().unwrap_or("not shown yet"));
    row("Address", found.address.as_deref().unwrap_or("unknown"));
    row("Way", &found.way);
    row("State", found.state);
    row("Asked at", &found.created_at.to_string());
    row("Holds until", &found.expires_at.to_string());
    format!(
        "<table>{rows}</table><p>Approve only a device that you have before you, or know.</p>\
         <form method=\"post\" action=\"/activate/decide\"><input type=\"hidden\" name=\"ticket\" value=\"{}\">\
         <p><button name=\"decision\" value=\"approve\">Approve</button> \
         <button name=\"decision\" value=\"deny\">Deny</button></p></form>",
        escape(ticket)
    )
}

fn refused(error: Error) -> Response {
    let (status, text) = match &error {
        Error::Unauthenticated { .. } => (StatusCode::UNAUTHORIZED, "this API token does not count".to_owned()),
        Error::Denied { .. } => (StatusCode::FORBIDDEN, error.to_string()),
        Error::NotFound { .. } => (StatusCode::NOT_FOUND, "there is no such code".to_owned()),
        Error::Invalid { reason, .. } => (StatusCode::UNPROCESSABLE_ENTITY, reason.clone()),
        Error::Conflict { .. } => (StatusCode::CONFLICT, error.to_string()),
        Error::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        other => {
            tracing::error!(error = %other, "the page for approval failed");
            (StatusCode::SERVICE_UNAVAILABLE, "not available just now".to_owned())
        }
    };
    page(status, &ask("", &format!("<p role=\"alert\">{}</p>", escape(&text))))
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Let a device in</title></head>\
         <body><h1>Let a device in</h1>{body}</body></html>"
    );
    let mut response = (status, Html(html)).into_response();
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"));
    response
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_came_in_becomes_markup() {
        assert_eq!(escape("<a href=\"x\">'&"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;");
    }
}
