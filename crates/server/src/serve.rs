//! `fleetward serve`: builds the house from its parts, opens the doors, and closes them in order.
//!
//! Order matters on the way out: stop accepting, tell the devices, finish requests, commit what is left, and only then
//! let go of the store.

pub(crate) mod parts;
mod readiness;

use std::sync::Arc;

use anyhow::bail;
use fleetward_app::App;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::ServeArgs;
use crate::http::HttpDoor;
use crate::listen::{self, ByAlpn, Gate};
use crate::metrics;
use crate::serve::parts::{MqttDoor, Sockets};
use crate::tls::{self, Clients, Protocols};

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<()> {
    let faults = args.faults();
    if !faults.is_empty() {
        bail!("the configuration has {} fault(s):\n  {}", faults.len(), faults.join("\n  "));
    }
    parts::start_log(args.log_json);
    parts::raise_file_limit(args.max_connections);
    let recorder = metrics::install()?;
    let external = args.external.open()?;
    let sockets = Sockets::bind(&args)?;

    let app = parts::open_app(&args.data_dir, args.database.as_deref(), &args.seal).await?;
    app.configure(parts::settings(&args, &sockets)?);
    parts::open_installation(&app, args.offline_root.as_deref()).await?;
    let identity = tls::Identity::new(app.clone())?;

    let stop = CancellationToken::new();
    let (tasks, background) = (TaskTracker::new(), TaskTracker::new());
    app.connect_did_source(Arc::new(crate::documents::HttpsDocuments::new()?));
    let (broker, hooks) = parts::start_broker(&app, &args).await?;
    fleetward_app::reconcile::spawn(&app, &background, &stop);
    parts::spawn_staples(&app, &identity, &background, &stop);
    parts::spawn_gauges(&app, &broker, &background, &stop);

    let gate = Gate::new(args.max_connections, tasks.clone(), stop.clone());
    let mqtt = MqttDoor::new(broker.clone());
    // AWS's clients reach their control plane wherever they are told that the endpoint is.
    let operators = fleetward_front_rest::Door::new(app.clone(), stop.clone());
    let device_router = fleetward_front_aws::in_front_of(operators.clone(), parts::device_router(&app, &broker));
    let device_http = HttpDoor::new(device_router, stop.clone());
    let operator_router = fleetward_front_rest::router(operators.clone());
    let operator_http = HttpDoor::new(fleetward_front_aws::in_front_of(operators, operator_router), stop.clone());
    let devices = Clients::Devices(fleetward_app::authority::trust(&app), Arc::clone(app.clock()));
    let endpoints = readiness::Endpoints::of(&args, &sockets, &app)?;
    fleetward_app::doctor::add_probes(&app, parts::probes(&app, &sockets, external.as_ref().map(|_| &hooks)).await?);
    parts::spawn_external(external, &hooks, &background, &stop);

    background.spawn(listen::accept(
        sockets.device,
        tls::server_config(Arc::new(identity.clone()), devices.clone(), &Protocols::HttpAndMqtt)?,
        gate.clone(),
        ByAlpn { mqtt: mqtt.clone(), http: device_http },
    ));
    background.spawn(listen::accept(
        sockets.mqtt,
        tls::server_config(Arc::new(identity.clone()), devices, &Protocols::Mqtt)?,
        gate.clone(),
        mqtt,
    ));
    background.spawn(listen::accept(
        sockets.operator,
        tls::server_config(Arc::new(identity), Clients::Anyone, &Protocols::Http)?,
        gate,
        operator_http,
    ));
    if let Some(socket) = sockets.pki {
        let door = HttpDoor::new(parts::pki_router(&app), stop.clone());
        background.spawn(listen::accept_plain(socket, tasks.clone(), stop.clone(), door));
    }
    background.spawn(metrics::serve(sockets.metrics, recorder, app.clone(), stop.clone()));
    // Heard from before anybody is told that the server is ready.
    let signals = Signals::listen()?;
    readiness::announce(&app, &args, &endpoints).await?;

    signals.one().await;
    close(&app, &broker, &stop, &[tasks, background]).await;
    Ok(())
}

async fn close(app: &App, broker: &fleetward_broker::Broker, stop: &CancellationToken, trackers: &[TaskTracker]) {
    tracing::info!("stopping");
    stop.cancel();
    let doors = async {
        broker.end_connections().await;
        for tracker in trackers {
            tracker.close();
            tracker.wait().await;
        }
        app.settled().await;
    };
    if tokio::time::timeout(parts::CLOSE_DEADLINE, doors).await.is_err() {
        tracing::warn!("requests are still under way");
    }
    // What the last requests had to say is in the queues of sessions by now.
    let last = async {
        broker.drain().await;
        fleetward_app::presence::flush(app).await
    };
    match tokio::time::timeout(parts::CLOSE_DEADLINE, last).await {
        Ok(Ok(_)) => tracing::info!("stopped"),
        Ok(Err(error)) => tracing::warn!(%error, "stopped; last presence was not written"),
        Err(_) => tracing::warn!("stopped with connections still open"),
    }
}

/// What asks the server to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn one(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
