//! What the broker alone costs: QoS 1 over plain TCP to an offline session, by processor time of its own threads; with
//! a window of 0, what an idle connection keeps in memory. `cargo run --release -p fleetward-broker --example throughput -- CONNECTIONS WINDOW SECONDS`

#![expect(clippy::indexing_slicing, reason = "a measurement, not the product")]
#![expect(clippy::cast_possible_truncation, reason = "a measurement, not the product")]
#![expect(clippy::cast_precision_loss, reason = "a measurement, not the product")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fleetward_base::{Clock, DeviceId, SystemClock, TenantId};
use fleetward_broker::{
    Broker, Chunk, Config, Connect, Connected, Disconnected, Hooks, Nack, Op, Overload, Peer, Principal, Refusal,
    ServiceRequest, SessionStore, StoreFailure, StoredRetained, StoredSession, StoredWill,
};
use fleetward_core::access::DeviceRights;
use tokio_util::task::TaskTracker;

struct Open(AtomicU64);

#[async_trait]
impl Hooks for Open {
    async fn authenticate(&self, _: &Peer, connect: &Connect) -> Result<Arc<Principal>, Refusal> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Principal {
            tenant: "acme".parse().map_err(|_| Refusal::NotAuthorized)?,
            device: connect.client_id.parse().map_err(|_| Refusal::NotAuthorized)?,
            serial: "01".into(),
            rights: DeviceRights::Full,
            profile: Default::default(),
            rates: Default::default(),
            topics: Default::default(),
            valid_until: None,
        }))
    }
    fn authorize_publish(&self, _: &Principal, _: &str, _: bool) -> bool {
        true
    }
    fn authorize_subscribe(&self, _: &Principal, _: &str) -> bool {
        true
    }
    fn authorize_delivery(&self, _: &Principal, _: &str) -> bool {
        true
    }
    fn owns(&self, _: &str, _: bool) -> bool {
        false
    }
    async fn service(&self, _: &Arc<Principal>, _: ServiceRequest) -> Result<(), Nack> {
        Ok(())
    }
    fn overloaded(&self, _: &Arc<Principal>, _: &ServiceRequest) -> Overload {
        Overload::Wait
    }
    fn connected(&self, _: &Arc<Principal>, _: &Connected) {}
    fn disconnected(&self, _: &Arc<Principal>, _: &Disconnected) {}
    fn seen(&self, _: &Arc<Principal>) {}
    fn subscribed(&self, _: &Arc<Principal>, _: &[Arc<str>]) {}
    fn queue_full(&self, _: &TenantId, _: &DeviceId) {}
}

/// Forgets what it is given, and says that it has it.
struct Nowhere;

#[async_trait]
impl SessionStore for Nowhere {
    async fn load_sessions(&self) -> Result<Vec<StoredSession>, StoreFailure> {
        Ok(vec![])
    }
    async fn load_retained(&self) -> Result<Vec<(TenantId, StoredRetained)>, StoreFailure> {
        Ok(vec![])
    }
    async fn load_wills(&self) -> Result<Vec<StoredWill>, StoreFailure> {
        Ok(Vec::new())
    }

    async fn commit(&self, _: Vec<Op>) -> Result<(), StoreFailure> {
        // About what a commit to a disk takes.
        tokio::time::timeout(Duration::from_millis(1), std::future::pending::<()>()).await.unwrap_or(());
        Ok(())
    }
    async fn read_queue(&self, _: &TenantId, _: &DeviceId, _: u64, _: usize) -> Result<Vec<Chunk>, StoreFailure> {
        Ok(vec![])
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 16_384);
    let mut out = vec![first];
    if body.len() < 128 {
        out.push(body.len() as u8);
    } else {
        out.extend([(body.len() % 128) as u8 | 0x80, (body.len() / 128) as u8]);
    }
    out.extend(body);
    out
}

fn connect(name: &str, clean: bool) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, u8::from(clean) << 1, 0, 60, 0, name.len() as u8];
    body.extend(name.as_bytes());
    packet(0x10, &body)
}

fn client(address: std::net::SocketAddr, n: u64, window: u16, stop: &AtomicBool) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.write_all(&connect(&format!("d{n}"), true))?;
    let mut buffer = [0; 65536];
    stream.read_exact(&mut buffer[..4])?;
    let mut batch = Vec::new();
    for id in 1..=window {
        let mut body = vec![0, 3, b't', b'/', b'x'];
        body.extend(id.to_be_bytes());
        body.extend([7; 100]);
        batch.extend(packet(0x32, &body));
    }
    let mut acked = 0;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&batch)?;
        stream.read_exact(&mut buffer[..usize::from(window) * 4])?;
        acked += u64::from(window);
    }
    Ok(acked)
}

/// Processor seconds of the threads whose name begins so.
fn cpu_of(name: &str) -> f64 {
    let mut ticks = 0u64;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let Ok(stat) = std::fs::read_to_string(task.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        if head.split_once('(').is_some_and(|(_, comm)| comm.starts_with(name)) {
            let fields: Vec<&str> = tail.split_whitespace().collect();
            ticks += fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0);
        }
    }
    ticks as f64 / 100.0
}

/// Resident bytes of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Connections that do nothing: what each keeps in memory.
fn idle(address: std::net::SocketAddr, connections: u64) -> Result<(), Box<dyn std::error::Error>> {
    let before = resident();
    let mut held = Vec::new();
    for n in 0..connections {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(&connect(&format!("device-number-{n}"), false))?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        let filter = format!("$aws/things/device-number-{n}/shadow/update/delta");
        let mut body = vec![0, 1, 0, filter.len() as u8];
        body.extend(filter.as_bytes());
        body.push(1);
        stream.write_all(&packet(0x82, &body))?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        held.push(stream);
    }
    let grown = resident().saturating_sub(before);
    writeln!(std::io::stdout().lock(), "{} bytes for each of {connections}", grown / connections)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<u64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let [connections, window, seconds] = args[..] else { return Err("CONNECTIONS WINDOW SECONDS".into()) };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("broker").enable_all().build()?;
    let clock = Arc::new(SystemClock::new());
    let config = Config { publish_messages: None, publish_bytes: None, queue_bytes: u64::MAX, ..Config::default() };
    let broker =
        runtime.block_on(Broker::start(config, Arc::new(Open(AtomicU64::new(0))), Arc::new(Nowhere), clock.clone()))?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let tracker = TaskTracker::new();
    let (serving, connected) = (broker.clone(), tracker.clone());
    tracker.spawn_on(
        async move {
            while let Ok((stream, address)) = listener.accept().await {
                if stream.set_nodelay(true).is_ok() {
                    let peer = Peer { address, certificates: vec![], alpn: None };
                    connected.spawn(serving.serve(stream, peer));
                }
            }
        },
        runtime.handle(),
    );
    let mut keeper = TcpStream::connect(address)?;
    keeper.write_all(&connect("keeper", false))?;
    keeper.write_all(&packet(0x82, &[0, 1, 0, 3, b't', b'/', b'x', 1]))?;
    let mut answers = [0; 9];
    keeper.read_exact(&mut answers)?;
    drop(keeper);
    if window == 0 {
        return idle(address, connections);
    }
    let stop = AtomicBool::new(false);
    let (acked, cpu, wall) = std::thread::scope(|scope| {
        let (before, started) = (cpu_of("broker"), clock.monotonic());
        let clients: Vec<_> = (0..connections)
            .map(|n| {
                scope.spawn({
                    let stop = &stop;
                    move || client(address, n, window as u16, stop)
                })
            })
            .collect();
        std::thread::park_timeout(Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        let acked: u64 = clients.into_iter().map(|c| c.join().map_or(0, |r| r.unwrap_or(0))).sum();
        (acked, cpu_of("broker") - before, (clock.monotonic() - started).as_secs_f64())
    });
    writeln!(
        std::io::stdout().lock(),
        "{acked} acked in {wall:.1} s: {:.0} a second, {:.0} a processor second of the broker, {} commits",
        acked as f64 / wall,
        acked as f64 / cpu,
        broker.stats().commits
    )?;
    Ok(())
}
