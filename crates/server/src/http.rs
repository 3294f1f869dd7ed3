//! HTTP over an accepted connection: the same for operators and devices.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use fleetward_app::Peer;
use fleetward_app::enroll::{Channel, EXPORTER_BYTES, EXPORTER_LABEL};
use fleetward_front_mqtt::websocket::Upgrades;
use fleetward_front_rest::device::AtWork;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::listen::{Door, Stream};
use crate::unread;

/// A client that has not sent its whole head by then is dropped; also how long a kept-alive connection may be idle.
const HEADER_DEADLINE: Duration = Duration::from_secs(60);
const MAX_HEADER_BYTES: usize = 32 * 1024;
const H2_STREAMS: u32 = 64;

/// A router behind a listener. Every request carries the [`Peer`], the [`Channel`], the [`Upgrades`] and what is
/// [`AtWork`] of its connection as extensions.
#[derive(Clone)]
pub(crate) struct HttpDoor {
    router: Router,
    stop: CancellationToken,
}

impl HttpDoor {
    pub(crate) fn new(router: Router, stop: CancellationToken) -> Self {
        Self { router, stop }
    }
}

impl Door for HttpDoor {
    async fn serve(&self, stream: Stream, peer: Peer) {
        let channel = channel(&stream);
        self.serve_on(stream, peer, channel).await;
    }
}

impl HttpDoor {
    /// Serves one connection, with TLS or without.
    pub(crate) async fn serve_on<S>(&self, stream: S, peer: Peer, channel: Channel)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let router = self.router.clone();
        let address = peer.address;
        let upgrades = Upgrades::default();
        let upgraded = upgrades.clone();
        let at_work = AtWork::default();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            request.extensions_mut().insert(channel);
            request.extensions_mut().insert(upgrades.clone());
            request.extensions_mut().insert(at_work.clone());
            answer(router.clone(), request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // One buffer per small answer: strongSwan before 5.9.11 wants the whole head in its first read.
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_buf_size(MAX_HEADER_BYTES)
            .writev(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(H2_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(Duration::from_secs(60));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%address, %error, "HTTP connection ended");
        }
        upgraded.ended().await;
    }
}

/// What a request over this connection can be bound to.
fn channel(stream: &Stream) -> Channel {
    let connection = stream.get_ref().1;
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Channel::Tls12;
    }
    // RFC 9266 §2: no context, which for TLS 1.3 is the empty one (RFC 8446 §7.5).
    match connection.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None) {
        Ok(value) => Channel::Tls13(value),
        Err(error) => {
            tracing::warn!(%error, "no keying material of a connection");
            Channel::Tls12
        }
    }
}

async fn answer(router: Router, request: http::Request<Incoming>) -> Result<Response, Infallible> {
    let held_back = request.version() != http::Version::HTTP_2 && request.headers().contains_key(http::header::EXPECT);
    if held_back || request.body().is_end_stream() {
        return router.oneshot(request.map(Body::new)).await;
    }
    let (head, body) = request.into_parts();
    let (body, unread) = unread::guard(body);
    let answered = router.oneshot(http::Request::from_parts(head, Body::new(body))).await;
    unread.drain().await;
    answered
}

#[cfg(test)]
mod tests;
