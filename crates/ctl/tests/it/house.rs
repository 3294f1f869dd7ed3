//! The program against the real door on a real socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use axum::Extension;
use fleetward_app::{App, Peer, Settings, authority, setup};
use fleetward_base::{SystemClock, SystemRng};
use fleetward_front_rest::{Door, router};
use fleetward_pki::Certificate;
use fleetward_store::{Config, Store};
use fleetward_vault::{MasterKey, Vault};
use object_store::memory::InMemory;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) folder: tempfile::TempDir,
    /// What the server printed at its first start.
    pub(crate) setup_token: String,
    url: String,
    token: Option<String>,
    tenant: Option<String>,
    stop: CancellationToken,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

fn ended(output: std::process::Output) -> Run {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A machine without a server: `said` goes to standard input, `passphrase` into the environment.
pub(crate) async fn away(args: &[&str], passphrase: &str, said: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardctl"));
    command.args(args).env_clear().env("PASSPHRASE", passphrase).env("FLEETWARD_URL", "https://localhost:1");
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.kill_on_drop(true).spawn().expect("wardctl runs");
    let mut input = child.stdin.take().expect("it was piped");
    // One that asks nothing may have ended already.
    input.write_all(said.as_bytes()).await.ok();
    drop(input);
    ended(child.wait_with_output().await.expect("it ends"))
}

impl House {
    /// A server that nobody has set up.
    pub(crate) async fn fresh() -> Self {
        Self::begun(None).await
    }

    /// As [`Self::open`], under a root that is kept offline.
    pub(crate) async fn under(root: &Certificate) -> Self {
        Self::begun(Some(root)).await.set_up().await
    }

    async fn begun(offline_root: Option<&Certificate>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, rng) = (Arc::new(SystemClock::new()), Arc::new(SystemRng));
        let store = Store::open(&Config::sqlite(folder.path().join("store.db")), &*clock).await.expect("a store");
        let vault = Vault::new(&MasterKey::random(&*rng));
        let app = App::new(store, vault, clock, rng, Arc::new(InMemory::new()));
        app.configure(Settings {
            operator_url: "https://localhost:8080".into(),
            device_host: "localhost".into(),
            device_port: 8443,
            mqtt_port: 8883,
            server_names: vec!["localhost".into()],
            pki_url: None,
            default_tenant: None,
            hook_networks: Vec::new(),
        });
        authority::open_installation_under(&app, offline_root).await.expect("authorities");
        let offer = setup::offer(&app).await.expect("an offer").expect("a fresh house");
        let stop = CancellationToken::new();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let peer = Peer { address: SocketAddr::from(([192, 0, 2, 1], 4711)), certificates: Arc::new([]) };
        let service = router(Door::new(app.clone(), stop.clone())).layer(Extension(peer));
        let stopped = stop.clone().cancelled_owned();
        TaskTracker::new().spawn(async move { axum::serve(listener, service).with_graceful_shutdown(stopped).await });
        let setup_token = offer.expose().clone();
        Self { app, folder, setup_token, url, token: None, tenant: None, stop }
    }

    /// A server with a tenant, acme, and its first administrator.
    pub(crate) async fn open() -> Self {
        Self::fresh().await.set_up().await
    }

    async fn set_up(mut self) -> Self {
        let made = self.run(&["setup", &self.setup_token, "-o", "json"]).await.json();
        self.token = made.get("token").and_then(Value::as_str).map(str::to_owned);
        assert_eq!(self.run(&["tenant", "create", "acme"]).await.code, 0);
        self.tenant = Some("acme".into());
        self
    }

    pub(crate) fn set_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    pub(crate) fn leave_tenant(&mut self) {
        self.tenant = None;
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardctl"));
        command.args(args).env_clear().env("FLEETWARD_URL", &self.url).kill_on_drop(true).stdin(Stdio::null());
        if let Some(token) = &self.token {
            command.env("FLEETWARD_TOKEN", token);
        }
        if let Some(tenant) = &self.tenant {
            command.env("FLEETWARD_TENANT", tenant);
        }
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Run {
        ended(self.command(args).output().await.expect("wardctl runs"))
    }

    /// Starts a command that goes on, and reads what it says line by line.
    pub(crate) fn start(&self, args: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("wardctl runs");
        let out = child.stdout.take().expect("it was piped");
        (child, BufReader::new(out).lines())
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
