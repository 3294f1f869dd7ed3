//! Sockets: accept, hand-shake within bounds, and give each connection to its door.
//!
//! A hand-shake costs most of what a connection costs, so only so many run at once; the rest wait in the kernel's backlog,
//! which is what keeps a reconnect storm from becoming a memory storm.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleetward_app::Peer;
use fleetward_base::limits;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::HttpDoor;
use crate::tls::ALPN_MQTT;

const BACKLOG: i32 = 4096;
/// A client that has not finished its hand-shake by then is dropped.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// Dead peers behind a NAT are noticed by the kernel, without a timer of ours.
const TCP_KEEPALIVE: Duration = Duration::from_secs(120);
/// Wait after an accept that failed for want of descriptors or memory.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// Shared by all listeners: what bounds them and what stops them.
#[derive(Clone)]
pub(crate) struct Gate {
    /// Hand-shakes at once, over all doors.
    handshakes: Arc<Semaphore>,
    /// Connections at once, over the devices' doors.
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Gate {
    pub(crate) fn new(max_connections: usize, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            handshakes: Arc::new(Semaphore::new(cores * 32)),
            connections: Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS))),
            tasks,
            stop,
        }
    }
}

pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use anyhow::Context;
    let bound = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::from(address))?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    bound().with_context(|| {
        format!("cannot listen on {address}; is another program there? choose another with a --*-listen flag")
    })
}

/// A connection after its hand-shake. Boxed: each future that it is handed through would have room for it otherwise, which
/// is several kilobytes in a task that lives as long as the connection.
pub(crate) type Stream = Box<TlsStream<TcpStream>>;

/// What a door does with a connection whose hand-shake is done.
pub(crate) trait Door: Clone + Send + Sync + 'static {
    fn serve(&self, stream: Stream, peer: Peer) -> impl Future<Output = ()> + Send;
}

/// Accepts until stopped. Each connection is a task of its own.
pub(crate) async fn accept<D: Door>(listener: TcpListener, tls: Arc<ServerConfig>, gate: Gate, door: D) {
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let Ok(slot) = Arc::clone(&gate.connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = gate.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, address) = match accepted {
            Ok(pair) => pair,
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::timeout(ACCEPT_BACK_OFF, gate.stop.cancelled()).await.ok();
                continue;
            }
        };
        let (acceptor, door, gate_of_task) = (acceptor.clone(), door.clone(), gate.clone());
        gate.tasks.spawn(async move {
            // The hand-shake future is large and short-lived: on the heap, so that the task that lives on stays small.
            let shaken = Box::pin(handshake(&acceptor, socket, address, &gate_of_task)).await;
            drop((acceptor, gate_of_task));
            if let Some((stream, peer)) = shaken {
                door.serve(stream, peer).await;
            }
            drop(slot);
        });
    }
}

/// Accepts without TLS until stopped. It has a bound of its own, since nobody has to prove anything here: whoever fills it
/// keeps no device out.
pub(crate) async fn accept_plain(listener: TcpListener, tasks: TaskTracker, stop: CancellationToken, door: HttpDoor) {
    let connections = Arc::new(Semaphore::new(limits::PKI_CONNECTIONS));
    loop {
        let Ok(slot) = Arc::clone(&connections).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, address)) => {
                socket.set_nodelay(true).ok();
                SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE)).ok();
                let (door, peer) = (door.clone(), Peer { address, certificates: Arc::new([]) });
                tasks.spawn(async move {
                    door.serve_on(socket, peer, None).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::timeout(ACCEPT_BACK_OFF, stop.cancelled()).await.ok();
            }
        }
    }
}

async fn handshake(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
    address: SocketAddr,
    gate: &Gate,
) -> Option<(Stream, Peer)> {
    socket.set_nodelay(true).ok();
    SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE)).ok();
    let _turn = gate.handshakes.acquire().await.ok()?;
    match tokio::time::timeout(HANDSHAKE_DEADLINE, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificates: Arc<[CertificateDer<'static>]> = chain.iter().map(|c| c.clone().into_owned()).collect();
            Some((Box::new(stream), Peer { address, certificates }))
        }
        Ok(Err(error)) => {
            ::metrics::counter!("fleetward_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%address, %error, "TLS hand-shake failed");
            None
        }
        Err(_) => {
            ::metrics::counter!("fleetward_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%address, "TLS hand-shake timed out");
            None
        }
    }
}

/// MQTT where the client's ALPN says so, HTTP otherwise.
#[derive(Clone)]
pub(crate) struct ByAlpn<M, H> {
    pub(crate) mqtt: M,
    pub(crate) http: H,
}

impl<M: Door, H: Door> Door for ByAlpn<M, H> {
    async fn serve(&self, stream: Stream, peer: Peer) {
        let mqtt = stream.get_ref().1.alpn_protocol().is_some_and(|name| ALPN_MQTT.contains(&name));
        if mqtt { self.mqtt.serve(stream, peer).await } else { Box::pin(self.http.serve(stream, peer)).await }
    }
}
