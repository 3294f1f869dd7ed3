//! What a new connection costs the server.
//!
//! Two stretches: TLS handshakes alone (full, both sides with certificates; one counts when the server has come to the end
//! of the stream behind it and had nothing against the client's certificate, as it has against a stranger's), and whole
//! MQTT connects up to CONNACK. The rate at which OpenSSL signs with P-256 on this machine, in this run, gives the scale.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use rustls::ClientConfig;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::figures::{Figures, Latency};
use super::stage::Stage;
use super::{Bench, BenchArgs, crypto, fleet, progress};
use crate::mqtt::{Client, Options};
use crate::net::{Door, source};
use crate::tls::ALPN_MQTT;

/// Connections under way at once.
const AT_ONCE: usize = 32;

#[derive(Clone, Copy, Debug)]
enum Depth {
    Handshake,
    Connack,
}

/// A device that connects again and again.
#[derive(Clone, Debug)]
struct Caller {
    name: String,
    tls: Arc<ClientConfig>,
    source: Ipv4Addr,
}

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.devices.unwrap_or(2000).max(AT_ONCE);
    let (signs, _) = crypto::openssl_p256().await?;
    let stage = Stage::raise(args, None).await?;
    let devices = fleet::enroll(&stage, "caller", count).await?;
    let callers: Vec<Caller> = devices
        .iter()
        .enumerate()
        .map(|(place, device)| {
            let tls = stage.server.trust.identified(device, &[ALPN_MQTT])?;
            anyhow::Ok(Caller { name: device.device.to_string(), tls, source: source(place) })
        })
        .collect::<Result<_, _>>()?;

    control(&stage).await?;
    let mut figures = Figures::new(Bench::Connect);
    figures.parameter("devices", count);
    figures.parameter("at_once", AT_ONCE);
    figures.set("openssl_p256_sign_per_second", signs);
    for (depth, what) in [(Depth::Handshake, "full_handshakes"), (Depth::Connack, "mqtt_connects")] {
        let spinner = progress::spinner(what);
        let mark = stage.mark()?;
        let latency = storm(&stage.server.mqtt_door()?, &callers, depth, Duration::from_secs(args.seconds)).await?;
        let used = stage.since(mark)?;
        figures.stretch(("", what, ""), latency.count(), &used);
        figures.latency((&format!("{what}_"), ""), &latency);
        spinner.finish_and_clear();
    }
    stage.close().await?;
    Ok(figures)
}

/// A handshake with a certificate of nobody must not count, or none of the others proves anything.
async fn control(stage: &Stage) -> anyhow::Result<()> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["stranger".to_owned()])?.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    let tls = stage.server.trust.with_certificate(vec![certificate.der().clone()], key.into(), &[ALPN_MQTT])?;
    let stranger = Caller { name: "stranger".to_owned(), tls, source: source(0) };
    let outcome = call(&stage.server.mqtt_door()?, &stranger, Depth::Handshake).await;
    anyhow::ensure!(outcome.is_err(), "the server took a certificate that nobody issued");
    Ok(())
}

async fn storm(door: &Door, callers: &[Caller], depth: Depth, length: Duration) -> anyhow::Result<Latency> {
    let mut tasks = JoinSet::new();
    for group in callers.chunks(callers.len().div_ceil(AT_ONCE)) {
        let (door, group) = (door.clone(), group.to_vec());
        tasks.spawn(async move {
            let clock = SystemClock::new();
            let mut latency = Latency::new();
            for caller in group.iter().cycle() {
                let begun = clock.monotonic();
                if begun >= length {
                    break;
                }
                call(&door, caller, depth).await?;
                latency.record(clock.monotonic().saturating_sub(begun));
            }
            anyhow::Ok(latency)
        });
    }
    let mut all = Latency::new();
    while let Some(done) = tasks.join_next().await {
        all.merge(&done??);
    }
    Ok(all)
}

async fn call(door: &Door, caller: &Caller, depth: Depth) -> anyhow::Result<()> {
    let mut stream = door.open(&caller.tls, Some(caller.source)).await?;
    match depth {
        Depth::Handshake => {
            // In TLS 1.3 the client is done before the server has looked at its certificate: a server that finds it bad
            // answers the end of the stream with an alert, and one that found it good just ends it too.
            stream.shutdown().await?;
            match stream.read(&mut [0; 16]).await {
                Ok(0) => {}
                Ok(_) => anyhow::bail!("the server spoke before CONNECT"),
                Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {}
                Err(cause) => return Err(cause).context("the server refused the handshake"),
            }
        }
        Depth::Connack => {
            Client::connect(stream, &caller.name, &Options::default()).await?.disconnect().await?;
        }
    }
    Ok(())
}
