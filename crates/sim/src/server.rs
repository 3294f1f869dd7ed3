//! A server of one's own: `fleetward serve` as a child on free ports, in a folder of its own.
//!
//! It is a process like any other, so that its CPU time and memory are its own, and it is reached only through its doors.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::TenantId;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::{Child, Command};

use crate::net::Door;
use crate::process::{self, Memory};
use crate::rest::Rest;
use crate::tls::{ALPN_HTTP, Trust};

/// How long a server may take to start, migrations included.
const START: Duration = Duration::from_secs(30);
/// How long a server may take to stop after it was asked to.
const STOP: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The `fleetward` executable.
    pub bin: PathBuf,
    pub data_dir: PathBuf,
    /// `postgres://...`; the embedded database otherwise.
    pub database: Option<String>,
    /// Messages a second that one connection may publish.
    pub publish_rate: u32,
    /// The tenant whose authorities are told to a device that names none.
    pub default_tenant: Option<TenantId>,
    /// Whether lists of revoked certificates and OCSP are handed out without TLS, on a port of their own.
    pub pki: bool,
}

/// What the server writes to `endpoints.json` when it is ready.
#[derive(Clone, Debug, Deserialize)]
pub struct Endpoints {
    pub operator_url: String,
    pub device_port: u16,
    pub mqtt_port: u16,
    /// Where lists of revoked certificates and OCSP are, without TLS.
    pub pki_url: Option<String>,
    pub ca_file: PathBuf,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: u32,
    pub endpoints: Endpoints,
    pub trust: Trust,
    pub data_dir: PathBuf,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub async fn start(options: &ServerOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.data_dir)?;
        let ready = options.data_dir.join("endpoints.json");
        if ready.exists() {
            std::fs::remove_file(&ready)?;
        }
        let log_path = options.data_dir.join("server.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&log_path)?;
        let mut command = Command::new(&options.bin);
        command.arg("serve").arg("--data-dir").arg(&options.data_dir);
        for flag in ["--operator-listen", "--device-listen", "--mqtt-listen", "--metrics-listen"] {
            command.args([flag, "127.0.0.1:0"]);
        }
        let tenant_rate = options.publish_rate.saturating_mul(1000).to_string();
        command.args(["--public-host", "localhost", "--publish-rate", &options.publish_rate.to_string()]);
        command.args(["--tenant-publish-rate", &tenant_rate]);
        if let Some(database) = &options.database {
            command.args(["--database", database]);
        }
        if let Some(tenant) = &options.default_tenant {
            command.args(["--default-tenant", tenant.as_str()]);
        }
        if options.pki {
            command.args(["--pki-listen", "127.0.0.1:0"]);
        }
        // Its own process group: Ctrl-C at the terminal is ours to handle, and we stop it in order.
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0).kill_on_drop(true);
        unconfigured(&mut command);
        let mut child = command.spawn().with_context(|| format!("starting {}", options.bin.display()))?;
        let pid = child.id().context("the server ended at once")?;
        let endpoints = wait_ready(&mut child, &ready, &log_path).await?;
        let pem =
            std::fs::read(&endpoints.ca_file).with_context(|| format!("reading {}", endpoints.ca_file.display()))?;
        Ok(Self { child, pid, endpoints, trust: Trust::from_pem(&pem)?, data_dir: options.data_dir.clone() })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// CPU time of the server since its start.
    pub fn cpu_time(&self) -> anyhow::Result<Duration> {
        process::cpu_time(self.pid)
    }

    pub fn memory(&self) -> anyhow::Result<Memory> {
        process::memory(self.pid)
    }

    /// The door for HTTPS of devices, and for MQTT by ALPN.
    pub fn device_door(&self) -> anyhow::Result<Door> {
        Door::local("localhost", self.endpoints.device_port)
    }

    pub fn mqtt_door(&self) -> anyhow::Result<Door> {
        Door::local("localhost", self.endpoints.mqtt_port)
    }

    /// The operators' API with `token`.
    pub fn rest(&self, token: &str) -> anyhow::Result<Rest> {
        let url: http::Uri = self.endpoints.operator_url.parse().context("the operator URL is no URL")?;
        let port = url.port_u16().context("the operator URL has no port")?;
        Ok(Rest::new(Door::local("localhost", port)?, self.trust.anonymous(&[ALPN_HTTP])?, token))
    }

    /// Trades the one-time token that the server wrote for the first administrator's.
    pub async fn first_administrator(&self) -> anyhow::Result<String> {
        let file = self.data_dir.join("setup-token");
        let token = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        self.rest("")?.setup(token.trim()).await
    }

    /// Asks the server to stop and waits for it; killed when it does not.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        match tokio::time::timeout(STOP, self.child.wait()).await {
            Ok(status) => {
                let status = status?;
                anyhow::ensure!(status.success(), "the server stopped with {status}");
                Ok(())
            }
            Err(_) => {
                self.child.kill().await?;
                anyhow::bail!("the server did not stop within {} s", STOP.as_secs())
            }
        }
    }

    /// Waits for the server to end by itself, which it should not.
    pub async fn ended(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => anyhow::anyhow!("the server ended: {status}"),
            Err(cause) => cause.into(),
        }
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).context("the server has no process")?;
        kill_process(pid, signal).context("signalling the server")
    }
}

async fn wait_ready(child: &mut Child, ready: &Path, log: &Path) -> anyhow::Result<Endpoints> {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(25));
        loop {
            tokio::select! {
                status = child.wait() => anyhow::bail!("the server ended at its start: {}\n{}", status?, tail(log)),
                _ = tick.tick() => {}
            }
            // A file that is half written is no JSON yet.
            if let Ok(text) = std::fs::read(ready)
                && let Ok(endpoints) = serde_json::from_slice(&text)
            {
                return Ok(endpoints);
            }
        }
    };
    match tokio::time::timeout(START, waiting).await {
        Ok(outcome) => outcome,
        Err(_) => anyhow::bail!("the server was not ready within {} s\n{}", START.as_secs(), tail(log)),
    }
}

/// Takes out of a child's environment what configures our programs, so that it is what its arguments say. What it logs
/// may still be chosen.
pub fn unconfigured(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| name.starts_with("FLEETWARD_") && name != "FLEETWARD_LOG");
        if ours {
            command.env_remove(name);
        }
    }
}

/// The last lines of a log, for the error that they explain.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("\n")
}

/// The path of a program that is installed beside this one.
pub fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("finding this program's own path")?;
    let path = own.with_file_name(name);
    anyhow::ensure!(path.exists(), "{} is missing: `make build` makes it", path.display());
    Ok(path)
}
