//! SCEP over HTTP (RFC 8894 §4), beside EST on the same port.
//!
//! ```text
//! /scep/TENANT[/...]?operation=GetCACaps | GetCACert | GetNextCACert | PKIOperation [&message=...]
//! /cgi-bin/pkiclient.exe?...      of the default tenant
//! ```
//! Whatever stands behind the tenant's name is passed over, since clients put names of programs and of profiles there. A
//! PKIOperation is posted, or stands in base64 in the query of a GET, as the oldest clients send it. What was refused
//! is told in a signed answer with status 200 (§4.3); other statuses are for what is no message.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use fleetward_app::enroll::Attempt;
use fleetward_app::{App, scep};
use fleetward_base::TenantId;
use fleetward_base::limits::{SCEP_MESSAGE_BYTES, SCEP_QUERY_BYTES};
use fleetward_pki::cms;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};

use crate::refusal::Refusal;
use crate::served::{self, Served};
use crate::{body, peer_of};

const MESSAGE: &str = "application/x-pki-message";
const AUTHORITIES: &str = "application/x-x509-ca-ra-cert";
const NEXT_AUTHORITY: &str = "application/x-x509-next-ca-cert";
/// Some clients leave out the padding, or its escape.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The routes. Requests carry the [`fleetward_app::Peer`] of their connection as an extension.
pub fn router(app: App) -> Router {
    served::router(served()).with_state(app)
}

pub(crate) fn served() -> [Served; 4] {
    let at = |path| Served::new(&["GET", "POST"], path, any(serve));
    [
        at("/scep/{tenant}"),
        at("/scep/{tenant}/{*rest}"),
        at("/cgi-bin/pkiclient.exe"),
        at("/cgi-bin/pkiclient.exe/{*rest}"),
    ]
}

async fn serve(State(app): State<App>, request: Request) -> Response {
    match dispatch(&app, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn dispatch(app: &App, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    let body = body::read_within(&head.headers, body, SCEP_MESSAGE_BYTES).await?;
    let tenant = tenant(app, head.uri.path())?;
    let query = Query::of(head.uri.query().unwrap_or_default())?;
    let posted = match (&head.method, query.operation) {
        (&Method::GET, _) => false,
        (&Method::POST, Operation::Message) => true,
        (_, Operation::Message) => return Err(Refusal::method(Method::POST)),
        _ => return Err(Refusal::method(Method::GET)),
    };
    match query.operation {
        Operation::CaCaps => Ok(answer("text/plain", scep::capabilities(app, &tenant).await?.join("\n").into_bytes())),
        Operation::CaCert => {
            let list = scep::authorities(app, &tenant).await?;
            let list: Vec<&[u8]> = list.iter().map(Vec::as_slice).collect();
            Ok(answer(AUTHORITIES, cms::certs_only(&list)))
        }
        Operation::NextCaCert => Ok(answer(NEXT_AUTHORITY, scep::next_authorities(app, &tenant).await?)),
        Operation::Message => {
            let message = if posted { body } else { query.decoded()? };
            let peer = peer_of(&head).ok_or_else(Refusal::without_peer)?;
            let attempt = Attempt { address: peer.address.ip(), request_id: app.new_request_id() };
            Ok(answer(MESSAGE, scep::answer(app, &attempt, &tenant, &message).await?))
        }
    }
}

/// Whose service a path means.
fn tenant(app: &App, path: &str) -> Result<TenantId, Refusal> {
    match path.strip_prefix("/scep/") {
        Some(rest) => rest.split('/').next().and_then(|name| name.parse().ok()).ok_or_else(no_service),
        None => app.settings()?.default_tenant.clone().ok_or_else(no_service),
    }
}

fn no_service() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is no such SCEP service")
}

fn answer(kind: &'static str, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    CaCaps,
    CaCert,
    NextCaCert,
    /// `PKIOperation`.
    Message,
}

struct Query {
    operation: Operation,
    message: Option<String>,
}

impl Query {
    fn of(text: &str) -> Result<Self, Refusal> {
        if text.len() > SCEP_QUERY_BYTES {
            let text = format!("a query has {SCEP_QUERY_BYTES} bytes at most; send the message by POST");
            return Err(Refusal::new(StatusCode::URI_TOO_LONG, text));
        }
        let (mut operation, mut message) = (None, None);
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "operation" => {
                    operation = match value {
                        "GetCACaps" => Some(Operation::CaCaps),
                        "GetCACert" => Some(Operation::CaCert),
                        "GetNextCACert" => Some(Operation::NextCaCert),
                        "PKIOperation" => Some(Operation::Message),
                        _ => None,
                    };
                }
                "message" => message = Some(value.to_owned()),
                _ => {}
            }
        }
        let text = "say operation=GetCACaps, GetCACert, GetNextCACert or PKIOperation";
        let operation = operation.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, text))?;
        Ok(Self { operation, message })
    }

    /// The message of a GET. A plus sign is one whether it was escaped or not, and not a blank as in a form.
    fn decoded(&self) -> Result<Vec<u8>, Refusal> {
        let bad = || Refusal::new(StatusCode::BAD_REQUEST, "the message is not base64");
        let text = self.message.as_deref().ok_or_else(bad)?;
        let bytes: Vec<u8> = percent_encoding::percent_decode_str(text).collect();
        let packed: Vec<u8> = bytes.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
        BASE64.decode(packed).map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_clients_write_them() {
        for (text, operation) in [
            ("operation=GetCACaps", Operation::CaCaps),
            ("operation=GetCACert&message=0", Operation::CaCert),
            ("message=CAIdentifier&operation=GetCACert", Operation::CaCert),
            ("operation=GetNextCACert&message=", Operation::NextCaCert),
            ("operation=PKIOperation", Operation::Message),
        ] {
            assert_eq!(Query::of(text).map(|query| query.operation).ok(), Some(operation), "{text}");
        }
        for text in ["", "operation", "operation=", "operation=getcacaps", "message=0"] {
            assert!(Query::of(text).is_err(), "{text}");
        }
        assert!(Query::of(&format!("operation=PKIOperation&message={}", "A".repeat(SCEP_QUERY_BYTES))).is_err());
    }

    #[test]
    fn messages_of_a_get_are_base64_however_escaped() {
        let of =
            |text: &str| Query::of(&format!("operation=PKIOperation&message={text}")).and_then(|query| query.decoded());
        for text in ["+/8=", "%2B%2F8%3D", "+/8", "%2b%2f8%0a"] {
            assert_eq!(of(text).ok(), Some(vec![0xfb, 0xff]), "{text}");
        }
        for text in ["%", "MA=A", "$"] {
            assert!(of(text).is_err(), "{text}");
        }
    }
}
