//! Telling people and scripts that the server is ready, where, and how the first administrator gets in.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use fleetward_app::App;
use serde::Serialize;
use tokio::net::TcpListener;

use crate::config::ServeArgs;
use crate::serve::parts::Sockets;

/// `DATA_DIR/endpoints.json`: written last, so whoever finds it finds a server that answers.
#[derive(Serialize, Debug)]
pub(crate) struct Endpoints {
    operator_url: String,
    device_host: String,
    device_port: u16,
    mqtt_port: u16,
    metrics_url: String,
    /// Where lists of revoked certificates, OCSP and SCEP are, without TLS.
    pki_url: Option<String>,
    ca_file: PathBuf,
    pid: u32,
}

impl Endpoints {
    pub(crate) fn of(args: &ServeArgs, sockets: &Sockets, app: &App) -> anyhow::Result<Self> {
        let settings = app.settings()?;
        Ok(Self {
            operator_url: settings.operator_url.clone(),
            device_host: settings.device_host.clone(),
            device_port: settings.device_port,
            mqtt_port: settings.mqtt_port,
            metrics_url: format!("http://{}/metrics", sockets.metrics.local_addr()?),
            pki_url: match &settings.pki_url {
                Some(url) => Some(url.clone()),
                None => sockets.pki.as_ref().map(TcpListener::local_addr).transpose()?.map(|at| format!("http://{at}")),
            },
            ca_file: std::path::absolute(args.data_dir.join("ca.pem"))?,
            pid: std::process::id(),
        })
    }
}

pub(crate) async fn announce(app: &App, args: &ServeArgs, endpoints: &Endpoints) -> anyhow::Result<()> {
    let root = fleetward_app::authority::root_pem(app).await?;
    replace(&endpoints.ca_file, root.as_bytes(), 0o644)?;
    let setup_file = args.data_dir.join("setup-token");
    let setup = fleetward_app::setup::offer(app).await?;
    match &setup {
        Some(token) => replace(&setup_file, token.expose().as_bytes(), 0o600)?,
        None => {
            std::fs::remove_file(&setup_file).ok();
        }
    }
    replace(&args.data_dir.join("endpoints.json"), &serde_json::to_vec_pretty(endpoints)?, 0o644)?;
    tracing::info!(
        operators = endpoints.operator_url,
        devices = endpoints.device_port,
        mqtt = endpoints.mqtt_port,
        "ready"
    );

    let waiting = fleetward_app::offline_root::requests(app, &app.system("start")).await?.len();
    if waiting > 0 {
        tracing::warn!(requests = waiting, "the offline root has yet to sign: wardctl ca csr, ca sign, ca import");
    }
    // Whoever read the first lines may have closed the pipe: no reason not to serve.
    greet(endpoints, setup.is_some().then_some(setup_file.as_path())).ok();
    Ok(())
}

/// What a person at a terminal sees.
fn greet(endpoints: &Endpoints, setup_file: Option<&Path>) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "Fleetward is ready.")?;
    writeln!(out, "  operators  {}", endpoints.operator_url)?;
    writeln!(out, "  devices    https://{}:{}", endpoints.device_host, endpoints.device_port)?;
    writeln!(
        out,
        "  MQTT       {}:{} (or port {} with ALPN)",
        endpoints.device_host, endpoints.mqtt_port, endpoints.device_port
    )?;
    writeln!(out, "  CA         {}", endpoints.ca_file.display())?;
    if let Some(setup_file) = setup_file {
        writeln!(out, "\nThere is no administrator yet. Become it, once, within 24 hours of this start:")?;
        writeln!(
            out,
            "  export FLEETWARD_URL={} FLEETWARD_CA_FILE={}\n  wardctl setup \"$(cat {})\"",
            endpoints.operator_url,
            endpoints.ca_file.display(),
            setup_file.display()
        )?;
    }
    out.flush()
}

/// Writes beside the file and renames over it: a reader sees the old content or the new.
fn replace(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let written = || -> std::io::Result<()> {
        let beside = path.with_extension("new");
        std::fs::remove_file(&beside).ok();
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
