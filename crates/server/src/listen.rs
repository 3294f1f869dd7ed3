//! Sockets: accept, hand-shake within bounds, and give each connection to its door.
//!
//! A hand-shake costs most of what a connection costs, so only so many run at once; the rest wait in the kernel's backlog,
//! which is what keeps a reconnect storm from becoming a memory storm.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fleetward_app::Peer;
use fleetward_app::enroll::Channel;
use fleetward_base::limits;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::HttpDoor;
use crate::tls::ALPN_MQTT;

const BACKLOG: i32 = 4096;
/// Networks whose turns are remembered before those that have nobody here are forgotten.
const NETWORKS_KEPT: usize = 4096;
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
    turns: Arc<Turns>,
    /// Connections at once, over the devices' doors.
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Gate {
    pub(crate) fn new(max_connections: usize, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            turns: Arc::new(Turns::new(cores * 32)),
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
        let (tls_of_task, door, gate_of_task) = (Arc::clone(&tls), door.clone(), gate.clone());
        gate.tasks.spawn(async move {
            // The hand-shake future is large and short-lived: on the heap, so that the task that lives on stays small.
            let shaken = Box::pin(handshake(&tls_of_task, socket, address, &gate_of_task)).await;
            drop((tls_of_task, gate_of_task));
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
                    door.serve_on(socket, peer, Channel::Unknown).await;
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
    tls: &Arc<ServerConfig>,
    socket: TcpStream,
    address: SocketAddr,
    gate: &Gate,
) -> Option<(Stream, Peer)> {
    socket.set_nodelay(true).ok();
    SockRef::from(&socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(TCP_KEEPALIVE)).ok();
    match shake(tls, socket, address, gate).await {
        Some(Ok(stream)) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificates: Arc<[CertificateDer<'static>]> = chain.iter().map(|c| c.clone().into_owned()).collect();
            Some((Box::new(stream), Peer { address, certificates }))
        }
        Some(Err(error)) => {
            ::metrics::counter!("fleetward_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%address, %error, "TLS hand-shake failed");
            None
        }
        None => {
            ::metrics::counter!("fleetward_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%address, "TLS hand-shake timed out");
            None
        }
    }
}

/// Whoever connects and says nothing takes no turn, and whoever stops half way takes one from its own network only: else
/// a few dozen such connections would keep everybody out.
async fn shake(
    tls: &Arc<ServerConfig>,
    socket: TcpStream,
    address: SocketAddr,
    gate: &Gate,
) -> Option<std::io::Result<TlsStream<TcpStream>>> {
    let hello =
        match tokio::time::timeout(HANDSHAKE_DEADLINE, LazyConfigAcceptor::new(Acceptor::default(), socket)).await {
            Ok(Ok(hello)) => hello,
            Ok(Err(error)) => return Some(Err(error)),
            Err(_) => return None,
        };
    let of_network = gate.turns.of(address.ip());
    let _own = of_network.acquire().await.ok()?;
    let _turn = gate.turns.all.acquire().await.ok()?;
    tokio::time::timeout(HANDSHAKE_DEADLINE, hello.into_stream(Arc::clone(tls))).await.ok()
}

/// Who may shake hands now.
struct Turns {
    all: Semaphore,
    /// Half of all, for each network that somebody of is here now.
    of_networks: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    each: usize,
}

impl Turns {
    fn new(all: usize) -> Self {
        Self { all: Semaphore::new(all), of_networks: Mutex::default(), each: (all / 2).max(1) }
    }

    fn of(&self, address: IpAddr) -> Arc<Semaphore> {
        let network = match address.to_canonical() {
            v4 @ IpAddr::V4(_) => v4,
            // What one subscriber is given at least (RFC 6177).
            IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        };
        let mut known = self.of_networks.lock();
        if known.len() >= NETWORKS_KEPT {
            known.retain(|_, turns| turns.strong_count() > 0);
        }
        if let Some(turns) = known.get(&network).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(self.each));
        known.insert(network, Arc::downgrade(&turns));
        turns
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_takes_half_of_the_turns_and_is_forgotten() {
        let turns = Turns::new(64);
        let of = |text: &str| turns.of(text.parse().expect("an address"));
        let one = of("192.0.2.1");
        assert_eq!(one.available_permits(), 32);
        assert!(Arc::ptr_eq(&one, &of("192.0.2.1")) && !Arc::ptr_eq(&one, &of("192.0.2.2")));
        assert!(Arc::ptr_eq(&one, &of("::ffff:192.0.2.1")), "as a socket for both has it");
        let six = of("2001:db8:1:2::1");
        assert!(Arc::ptr_eq(&six, &of("2001:db8:1:2:ffff::9")) && !Arc::ptr_eq(&six, &of("2001:db8:1:3::1")));
        for number in 0..=u32::try_from(NETWORKS_KEPT).expect("few") {
            turns.of(IpAddr::V4(number.into()));
        }
        assert!(turns.of_networks.lock().len() < 10, "those that are here, and the newest");
        assert!(Arc::ptr_eq(&one, &of("192.0.2.1")), "who is here is not forgotten");
    }
}
