//! The enrolment door on the devices' HTTP port: EST (RFC 7030, with RFC 8951), and SCEP in [`scep`].
//!
//! ```text
//! [/PREFIX]/.well-known/est[/LABEL]/cacerts | simpleenroll | simplereenroll | csrattrs | serverkeygen | fullcmc
//! ```
//! The label is the tenant. Without one it is the tenant of the token or of the certificate, and the default tenant for
//! `cacerts`. The door reads the request, calls one use case and writes the answer the way the client at the other end
//! can read it ([`answer`]); what is decided is decided in `fleetward_app::enroll`. It refuses bodies above
//! `limits::EST_BODY_BYTES` before it keeps them.
//!
//! [`pki`] beside it hands out what the authorities have signed: lists of revoked certificates, OCSP answers.
//!
//! Beside EST, under the same listener: Azure's device registration ([`dps`]) and the OAuth 2.0 device flow ([`oauth`]).
//!
//! Another operation of EST is a variant of [`target::Operation`] and a file beside `simpleenroll.rs`.

mod answer;
mod basic;
mod body;
mod cacerts;
mod csrattrs;
mod dps;
mod oauth;
pub mod pki;
mod refusal;
pub mod scep;
mod served;
mod serverkeygen;
mod simpleenroll;
mod simplereenroll;
mod target;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use fleetward_app::enroll::{Attempt, Channel};
use fleetward_app::{App, Peer};
use http::HeaderMap;
use http::request::Parts;

use crate::refusal::Refusal;
use crate::served::Served;
use crate::target::{Operation, Target};

/// How many path segments may stand before `/.well-known`. strongSwan puts the path of its URL there.
const PREFIX_SEGMENTS: [&str; 4] = ["", "/{p1}", "/{p1}/{p2}", "/{p1}/{p2}/{p3}"];

/// A request as an operation needs it.
struct Asked<'a> {
    target: &'a Target,
    peer: &'a Peer,
    headers: &'a HeaderMap,
    body: &'a [u8],
    channel: Channel,
}

impl Asked<'_> {
    fn attempt(&self, app: &App) -> Attempt {
        Attempt { address: self.peer.address.ip(), request_id: app.new_request_id() }
    }
}

/// The routes. Requests carry the [`Peer`] of their connection as an extension, and the [`Channel`] where it is known.
pub fn router(app: App) -> Router {
    let mut router = Router::new();
    for prefix in PREFIX_SEGMENTS {
        router = router
            .route(&format!("{prefix}/.well-known/est/{{op}}"), any(serve))
            .route(&format!("{prefix}/.well-known/est/{{label}}/{{op}}"), any(serve));
    }
    router.merge(served::router(beside())).with_state(app)
}

/// What is served beside EST under the same listener.
fn beside() -> impl Iterator<Item = Served> {
    dps::served().into_iter().chain(oauth::served()).chain(scep::served())
}

/// Every operation of this crate's routers, by method and path; those of EST without what may stand before them.
pub fn operations() -> Vec<(String, String)> {
    let labels = ["", "/{label}"];
    let est = labels.into_iter().flat_map(|label| {
        let path = move |operation: Operation| format!("/.well-known/est{label}/{}", operation.name());
        Operation::ALL.into_iter().map(move |operation| (operation.method().to_string(), path(operation)))
    });
    let titles = served::titles(beside().chain(pki::served()));
    est.chain(titles.into_iter().map(|(method, path)| (method.to_owned(), path))).collect()
}

/// Whose connection it is. The listener says; one that does not is broken.
fn peer_of(head: &Parts) -> Option<&Peer> {
    let peer = head.extensions.get::<Peer>();
    if peer.is_none() {
        tracing::error!("a request came without its peer");
    }
    peer
}

async fn serve(State(app): State<App>, request: Request) -> Response {
    match dispatch(&app, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn dispatch(app: &App, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    // Also for what is refused: to a client that still sends, an answer before the end of its body is a broken stream
    // (curl 7.88 on HTTP/2), and on HTTP/1.1 the end of its connection.
    let body = body::read(&head.headers, body).await?;
    let target = Target::of(head.uri.path()).ok_or_else(Refusal::not_found)?;
    let allowed = target.operation.method();
    if head.method != allowed {
        return Err(Refusal::method(allowed));
    }
    let peer = peer_of(&head).ok_or_else(Refusal::without_peer)?;
    let channel = head.extensions.get::<Channel>().copied().unwrap_or_default();
    let asked = Asked { target: &target, peer, headers: &head.headers, body: &body, channel };
    match target.operation {
        Operation::CaCerts => cacerts::handle(app, &asked).await,
        Operation::SimpleEnroll => simpleenroll::handle(app, &asked).await,
        Operation::SimpleReenroll => simplereenroll::handle(app, &asked).await,
        Operation::CsrAttrs => csrattrs::handle(app, &asked).await,
        Operation::ServerKeyGen => serverkeygen::handle(app, &asked).await,
        Operation::FullCmc => Err(Refusal::not_implemented("full CMC is not offered; use simpleenroll")),
    }
}
