//! MQTT over WebSocket (MQTT 5.0 §6, RFC 6455): the same broker for clients that a proxy or a browser lets speak HTTP only.
//!
//! The certificate of the TLS connection beneath counts as it does without WebSocket. What is refused: a client that does
//! not offer the subprotocol `mqtt`, frames of text, frames above the limit before there is memory for them, and a page of
//! another site (a browser would show the user's certificate for it).

use std::io;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use fleetward_app::Peer;
use fleetward_base::limits;
use fleetward_broker::Broker;
use futures::{SinkExt, StreamExt, future};
use http::{HeaderMap, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};
use tokio_util::task::TaskTracker;

/// MQTT 5.0 §6.0, and what clients of MQTT 3.1 still ask for.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// What waits to be written beyond one packet: above it the session waits.
const WRITE_BYTES: usize = 2 * limits::MQTT_PACKET_BYTES;

/// What became of a connection after its upgrade: whoever accepted it waits here, and so counts it, until that has ended.
#[derive(Clone, Debug, Default)]
pub struct Upgrades(TaskTracker);

impl Upgrades {
    /// Waits for what the connection was upgraded to; at once if it was not.
    pub async fn ended(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Upgrades to MQTT. Every request must carry [`Peer`] and [`Upgrades`] as extensions.
pub fn router(broker: Broker) -> Router {
    // Where AWS's clients and most others ask, and where Azure's do.
    Router::new().route("/mqtt", get(upgrade)).route("/$iothub/websocket", get(upgrade)).with_state(broker)
}

async fn upgrade(
    State(broker): State<Broker>,
    axum::Extension(peer): axum::Extension<Peer>,
    axum::Extension(upgrades): axum::Extension<Upgrades>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return refused(rejection.status(), "MQTT is spoken here: ask for an upgrade to websocket"),
    };
    if !same_origin(&headers) {
        return refused(StatusCode::FORBIDDEN, "the page that opens this connection is of another site");
    }
    let upgrade = upgrade
        .max_frame_size(limits::MQTT_PACKET_BYTES)
        .max_message_size(limits::MQTT_PACKET_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BYTES)
        .protocols(SUBPROTOCOLS);
    if upgrade.selected_protocol().is_none() {
        return refused(StatusCode::BAD_REQUEST, "offer the subprotocol mqtt (Sec-WebSocket-Protocol: mqtt)");
    }
    let token = upgrades.0.token();
    let peer = fleetward_broker::Peer {
        address: peer.address,
        certificates: peer.certificates.iter().map(|certificate| certificate.to_vec()).collect(),
        alpn: None,
    };
    upgrade.on_upgrade(move |socket| async move {
        broker.serve(bytes_of(socket), peer).await;
        drop(token);
    })
}

fn refused(status: StatusCode, what_to_do: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], what_to_do).into_response()
}

/// RFC 6455 §10.2. Clients that are no browser send no origin, or their own idea of the host's.
fn same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let site = origin.as_bytes();
    let site = site.strip_prefix(b"https://").or_else(|| site.strip_prefix(b"http://")).unwrap_or_default();
    !host.is_empty() && without_port(site).eq_ignore_ascii_case(without_port(host))
}

/// An authority without its port; `[::1]` keeps its colons.
fn without_port(authority: &[u8]) -> &[u8] {
    let after = authority.iter().rposition(|&byte| byte == b']').map_or(0, |at| at + 1);
    let colon = authority.iter().skip(after).position(|&byte| byte == b':');
    colon.and_then(|at| authority.get(..after + at)).unwrap_or(authority)
}

/// Packets may begin and end anywhere in frames (MQTT 5.0 §6.0), so to the broker they are one stream.
fn bytes_of(socket: WebSocket) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
    let (sink, frames) = socket.split();
    let frames = frames.filter_map(|frame| {
        future::ready(match frame {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            // [MQTT-6.0.0-1].
            Ok(Message::Text(_)) => Some(Err(io::Error::new(io::ErrorKind::InvalidData, "a frame of text"))),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    let sink = sink
        .sink_map_err(io::Error::other)
        .with(|bytes: Bytes| future::ready(Ok::<_, io::Error>(Message::Binary(bytes))));
    tokio::io::join(StreamReader::new(frames), SinkWriter::new(CopyToBytes::new(sink)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&'static str>, host: &'static str) -> HeaderMap {
        let host = (header::HOST, http::HeaderValue::from_static(host));
        let origin = origin.map(|origin| (header::ORIGIN, http::HeaderValue::from_static(origin)));
        std::iter::once(host).chain(origin).collect()
    }

    #[test]
    fn another_site_is_told_by_its_host() {
        for (origin, host, same) in [
            (None, "fleet.example:8443", true),
            (Some("https://fleet.example:8443"), "fleet.example:8443", true),
            (Some("https://Fleet.example"), "fleet.example:8443", true),
            (Some("https://[::1]:8443"), "[::1]:8443", true),
            (Some("https://[::1]:8443"), "[::2]:8443", false),
            (Some("https://evil.example"), "fleet.example:8443", false),
            (Some("https://fleet.example.evil.example"), "fleet.example", false),
            (Some("null"), "fleet.example", false),
            (Some("null"), "", false),
            (Some("https://"), "", false),
        ] {
            assert_eq!(same_origin(&headers(origin, host)), same, "{origin:?} at {host}");
        }
    }
}
