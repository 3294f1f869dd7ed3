//! The parts of the server, each built by one function from what it needs.

use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use fleetward_app::doctor::Probe;
use fleetward_app::mqtt_sessions::StoredSessions;
use fleetward_app::{App, Peer, Settings};
use fleetward_base::{Clock, Rng, SystemClock, SystemRng, limits};
use fleetward_broker::{Broker, Rate, Redirect, TenantRates};
use fleetward_front_mqtt::MqttHooks;
use fleetward_front_mqtt::external::External;
use fleetward_store::Store;
use fleetward_vault::Vault;
use object_store::local::LocalFileSystem;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServeArgs;
use crate::doctor::door::MqttDoorProbe;
use crate::external::ExternalProbe;
use crate::listen::{self, Door, Stream};
use crate::seals::SealArgs;
use crate::tls::Identity;

/// How long open requests and connections get to end.
pub(super) const CLOSE_DEADLINE: Duration = Duration::from_secs(10);
/// A stapled answer is made anew at half its life; after a failure, and at most, at these.
const STAPLE_AGAIN: Duration = Duration::from_secs(60);
const STAPLE_EVERY: Duration = Duration::from_secs(12 * 3600);
const GAUGES_EVERY: Duration = Duration::from_secs(5);
/// Descriptors beside those of connections: database, artifacts, listeners.
const SPARE_FILES: u64 = 1024;

/// All listeners, bound before anything else is done, so that a taken port is reported at once.
pub(super) struct Sockets {
    pub(super) operator: TcpListener,
    pub(super) device: TcpListener,
    pub(super) mqtt: TcpListener,
    pub(super) metrics: TcpListener,
    /// Without TLS, where it was asked for.
    pub(super) pki: Option<TcpListener>,
}

impl Sockets {
    pub(super) fn bind(args: &ServeArgs) -> anyhow::Result<Self> {
        Ok(Self {
            operator: listen::bind(args.operator_listen)?,
            device: listen::bind(args.device_listen)?,
            mqtt: listen::bind(args.mqtt_listen)?,
            metrics: listen::bind(args.metrics_listen)?,
            pki: args.pki_listen.map(listen::bind).transpose()?,
        })
    }
}

pub(crate) fn start_log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("FLEETWARD_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if json { log.json().try_init() } else { log.try_init() };
    if started.is_err() {
        tracing::debug!("a log was started before");
    }
}

/// A connection is a descriptor: take as many as the system gives.
pub(super) fn raise_file_limit(connections: usize) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(SPARE_FILES);
    limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

pub(crate) async fn open_app(data_dir: &Path, database: Option<&str>, seal: &SealArgs) -> anyhow::Result<App> {
    let artifacts = data_dir.join("artifacts");
    // The database and the sealed keys are for the server's user alone.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&artifacts)
        .with_context(|| format!("cannot make {}", artifacts.display()))?;
    let (clock, rng): (Arc<dyn Clock>, Arc<dyn Rng>) = (Arc::new(SystemClock::new()), Arc::new(SystemRng));
    let token = seal.token()?;
    let vault = Vault::sealed_by(seal.open(seal.chosen(), data_dir, &token)?);
    let config = match database {
        Some(address) => fleetward_store::Config::from_address(address)?,
        None => fleetward_store::Config::sqlite(data_dir.join("fleetward.db")),
    };
    let store = Store::open(&config, clock.as_ref()).await.context("the database cannot be opened")?;
    let objects = LocalFileSystem::new_with_prefix(&artifacts)?.with_fsync(true);
    let app = App::new(store, vault, clock, rng, Arc::new(objects));
    if let Some(tokens) = token.tokens() {
        app.connect_tokens(tokens);
    }
    Ok(app)
}

pub(super) fn settings(args: &ServeArgs, sockets: &Sockets) -> anyhow::Result<Settings> {
    let host = args.public_hosts.first().context("at least one --public-host")?.clone();
    let in_url = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.clone(),
    };
    let mut server_names = args.public_hosts.clone();
    for always in ["localhost", "127.0.0.1", "::1"] {
        if !server_names.iter().any(|name| name == always) {
            server_names.push(always.to_owned());
        }
    }
    let pki_port = sockets.pki.as_ref().map(TcpListener::local_addr).transpose()?.map(|address| address.port());
    let pki_url = args.pki_url.clone().or_else(|| pki_port.map(|port| format!("http://{in_url}:{port}")));
    Ok(Settings {
        pki_url,
        operator_url: format!("https://{in_url}:{}", sockets.operator.local_addr()?.port()),
        device_host: host,
        device_port: sockets.device.local_addr()?.port(),
        mqtt_port: sockets.mqtt.local_addr()?.port(),
        server_names,
        default_tenant: args.default_tenant.clone(),
        hook_networks: args.hook_networks.clone(),
    })
}

pub(super) async fn start_broker(app: &App, args: &ServeArgs) -> anyhow::Result<(Broker, Arc<MqttHooks>)> {
    let rate = Rate { per_second: args.publish_rate, burst: args.publish_rate.saturating_mul(2) };
    let usual = fleetward_broker::Config::default();
    let burst = |per_second: u32, times: u32| Rate { per_second, burst: per_second.saturating_mul(times) };
    let tenant_rates = TenantRates {
        messages: Some(burst(args.tenant_publish_rate, 2)),
        connects: Some(burst(args.tenant_connect_rate, 10)),
        // Small messages are the usual ones, and a few large ones must pass at the lowest rate.
        bytes: Some(burst(args.tenant_publish_rate.saturating_mul(1024).max(128 * 1024 * 1024), 2)),
    };
    let config = fleetward_broker::Config {
        publish_messages: Some(rate),
        tenant_rates,
        properties_in_topic: fleetward_front_mqtt::has_properties,
        memory_bytes: usize::try_from(args.mqtt_memory_mib)?.saturating_mul(1024 * 1024),
        ..usual
    };
    let hooks = Arc::new(MqttHooks::new(app.clone()));
    let sessions = Arc::new(StoredSessions::new(app.clone()));
    let broker = Broker::start(config, hooks.clone(), sessions, Arc::clone(app.clock()))
        .await
        .context("the MQTT sessions cannot be loaded")?;
    hooks.connect(broker.clone());
    if let Some(server) = args.mqtt_redirect.clone() {
        broker.redirect(Some(Redirect { server, moved: false }), 1);
    }
    Ok((broker, hooks))
}

/// Serves the devices of an external broker, where there is one.
pub(super) fn spawn_external(
    external: Option<External>,
    hooks: &Arc<MqttHooks>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    if let Some(external) = external {
        tasks.spawn(Arc::clone(hooks).serve_external(external, stop.clone()));
    }
}

/// What devices reach over HTTPS: enrolment, artifacts, shadows, jobs, attestation, what they say of their identity, and MQTT
/// over WebSocket.
pub(super) fn device_router(app: &App, broker: &Broker) -> Router {
    fleetward_front_enroll::router(app.clone())
        .merge(fleetward_front_enroll::pki::router(app.clone()))
        .merge(fleetward_front_update::router(app.clone()))
        .merge(fleetward_front_rest::device::router(app.clone()))
        .merge(fleetward_front_rest::device_jobs::router(app.clone()))
        .merge(fleetward_front_rest::device_commands::router(app.clone()))
        .merge(fleetward_front_rest::attest::router(app.clone()))
        .merge(fleetward_front_rest::identity::router(app.clone()))
        .merge(fleetward_front_mqtt::websocket::router(broker.clone()))
}

/// Opens the authorities, at the first start under the offline root whose certificate is in this file.
pub(super) async fn open_installation(app: &App, offline_root: Option<&Path>) -> anyhow::Result<()> {
    let root = match offline_root {
        Some(path) => {
            let read = || format!("--offline-root {}", path.display());
            // More than a root has is not read.
            let mut bytes = Vec::new();
            let most = u64::try_from(limits::CA_IMPORT_BYTES)?;
            std::fs::File::open(path).with_context(read)?.take(most + 1).read_to_end(&mut bytes).with_context(read)?;
            Some(fleetward_app::offline_root::root_certificate(&bytes).with_context(read)?)
        }
        None => None,
    };
    fleetward_app::authority::open_installation_under(app, root.as_ref()).await.map_err(|error| match error {
        error @ fleetward_app::Error::Conflict { .. } => anyhow::Error::new(error),
        error => anyhow::Error::new(error).context(
            "the installation's authorities cannot be opened; does the seal (or the master key) belong to this database?",
        ),
    })
}

/// What an examination tries beside what `app` knows of.
pub(super) async fn probes(
    app: &App,
    sockets: &Sockets,
    external: Option<&Arc<MqttHooks>>,
) -> anyhow::Result<Vec<Arc<dyn Probe>>> {
    let roots = fleetward_app::authority::root_pem(app).await?;
    let roots = CertificateDer::pem_slice_iter(roots.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let door = MqttDoorProbe::new(sockets.mqtt.local_addr()?, "localhost", roots)?;
    let mut probes: Vec<Arc<dyn Probe>> = vec![Arc::new(door)];
    if let Some(hooks) = external {
        probes.push(Arc::new(ExternalProbe(Arc::clone(hooks))));
    }
    Ok(probes)
}

/// What anybody reaches without TLS.
pub(super) fn pki_router(app: &App) -> Router {
    fleetward_front_enroll::pki::router(app.clone()).merge(fleetward_front_enroll::scep::router(app.clone()))
}

/// Has an OCSP answer on the server's own certificate stapled to every hand-shake, and a newer one in time.
pub(super) fn spawn_staples(app: &App, shown: &Identity, tasks: &TaskTracker, stop: &CancellationToken) {
    let (app, shown, stop) = (app.clone(), shown.clone(), stop.clone());
    tasks.spawn(async move {
        loop {
            let leaf = shown.leaf();
            let wait = match fleetward_app::publication::staple(&app, &leaf).await {
                Ok(Some((answer, until))) => {
                    shown.staple(&leaf, answer);
                    (until.since(app.now()) / 2).clamp(STAPLE_AGAIN, STAPLE_EVERY)
                }
                Ok(None) => STAPLE_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "no OCSP answer to staple; it is tried again");
                    STAPLE_AGAIN
                }
            };
            if tokio::time::timeout(wait, stop.cancelled()).await.is_ok() {
                return;
            }
        }
    });
}

/// The broker behind a listener.
#[derive(Clone)]
pub(super) struct MqttDoor {
    broker: Broker,
}

impl MqttDoor {
    pub(super) fn new(broker: Broker) -> Self {
        Self { broker }
    }
}

impl Door for MqttDoor {
    fn serve(&self, stream: Stream, peer: Peer) -> impl Future<Output = ()> + Send {
        // Made before there is a future: what the peer is known by does not stay with the connection.
        let peer = fleetward_broker::Peer {
            address: peer.address,
            certificates: peer.certificates.iter().map(|certificate| certificate.to_vec()).collect(),
            alpn: stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec),
        };
        self.broker.serve(stream, peer)
    }
}

/// What Prometheus shows of the broker, refreshed every few seconds: a scrape then costs no lock of a hot path.
pub(super) fn spawn_gauges(app: &App, broker: &Broker, tasks: &TaskTracker, stop: &CancellationToken) {
    let (app, broker, stop) = (app.clone(), broker.clone(), stop.clone());
    tasks.spawn(async move {
        let mut ticks = tokio::time::interval(GAUGES_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let stats = broker.stats();
            for (name, value) in [
                ("fleetward_mqtt_connections", stats.connections),
                ("fleetward_mqtt_sessions", stats.sessions),
                ("fleetward_mqtt_subscriptions", stats.subscriptions),
                ("fleetward_mqtt_retained_messages", stats.retained),
                ("fleetward_mqtt_queued_bytes", stats.queued_bytes),
                ("fleetward_mqtt_held_bytes", stats.held_bytes),
                ("fleetward_devices_online", app.presence().online_count()),
            ] {
                #[expect(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53")]
                metrics::gauge!(name).set(value as f64);
            }
            for (name, value) in [
                ("fleetward_mqtt_connects_total", stats.connects),
                ("fleetward_mqtt_connects_refused_total", stats.connects_refused),
                ("fleetward_mqtt_messages_received_total", stats.received),
                ("fleetward_mqtt_messages_delivered_total", stats.delivered),
                ("fleetward_mqtt_messages_acknowledged_total", stats.acked),
                ("fleetward_mqtt_service_requests_total", stats.service_requests),
                ("fleetward_mqtt_refused_unauthorized_total", stats.refused_unauthorized),
                ("fleetward_mqtt_refused_queue_full_total", stats.refused_full),
                ("fleetward_mqtt_slow_readers_total", stats.slow_readers),
                ("fleetward_mqtt_sessions_kicked_total", stats.kicked),
                ("fleetward_mqtt_commits_total", stats.commits),
                ("fleetward_mqtt_commit_failures_total", stats.commit_failures),
            ] {
                metrics::counter!(name).absolute(value);
            }
            show_certificates(&app.certificate_figures());
            for (verdict, reason, count) in app.attestation_results().all() {
                metrics::counter!("fleetward_attestation_results_total", "verdict" => verdict, "reason" => reason)
                    .absolute(count);
            }
        }
    });
}

/// How certificates are issued and renewed, and how many are about to end.
fn show_certificates(figures: &fleetward_app::rotation::Figures) {
    metrics::counter!("fleetward_certificates_issued_total").absolute(figures.issued);
    metrics::counter!("fleetward_renewals_total").absolute(figures.renewed);
    for (cause, count) in &figures.failed {
        metrics::counter!("fleetward_renewals_failed_total", "cause" => *cause).absolute(*count);
    }
    for (days, count) in ["7", "14", "30"].into_iter().zip(figures.expiring) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge; exact up to 2^53")]
        metrics::gauge!("fleetward_certificates_expiring", "within_days" => days).set(count as f64);
    }
}
