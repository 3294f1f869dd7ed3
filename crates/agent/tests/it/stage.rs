//! A server and agents as processes in a temporary folder, and waiting for what they do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use fleetward_base::{Clock as _, Rng as _, SystemClock, SystemRng, Timestamp};
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::rest::Rest;

/// How long anything may take; a loaded machine is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server's program beside the agent's. A test of the whole workspace has built it; where it is not there it is built
/// now. Whoever changes the server and tests the agent alone builds it first.
fn server_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_BIN_EXE_fleetward-agent")).with_file_name("fleetward");
        if !program.exists() {
            let built = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "fleetward-server"]).status();
            assert!(built.expect("cargo runs").success(), "the server does not build");
        }
        program
    })
}

/// A process that ends with its owner.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.0.try_wait().expect("it is ours").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn log(path: &Path) -> Stdio {
    std::fs::OpenOptions::new().create(true).append(true).open(path).expect("a log").into()
}

/// A server with the tenant `acme` and an accepted signer.
pub(crate) struct Stage {
    pub(crate) dir: TempDir,
    pub(crate) rest: Rest,
    key: SigningKey,
    endpoints: Value,
    _server: Process,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::with_prefix("fleetward-agent-").expect("a folder");
        let data = dir.path().join("server");
        let mut command = Command::new(server_program());
        command.args(["serve", "--operator-listen", "127.0.0.1:0", "--device-listen", "127.0.0.1:0"]);
        command.args(["--mqtt-listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data-dir"]).arg(&data);
        command.env("RUST_LOG", "warn").stdin(Stdio::null());
        let output = dir.path().join("server.log");
        command.stdout(log(&output)).stderr(log(&output));
        let server = Process(command.spawn().expect("the server starts"));
        let endpoints = wait_for("the server", || {
            std::fs::read(data.join("endpoints.json")).ok().and_then(|text| serde_json::from_slice(&text).ok())
        })
        .await;
        let setup = wait_for("the offer", || std::fs::read_to_string(data.join("setup-token")).ok()).await;
        let ca = std::fs::read(data.join("ca.pem")).expect("the CA");
        let mut rest = Rest::new(&ca, port(&endpoints, "operator"));
        rest.claim(setup.trim()).await;
        rest.post("/v1/tenants", &json!({ "name": "acme" })).await;
        let key = SigningKey::generate(&SystemRng);
        let public = key.verifying_key().to_pem();
        rest.post("/v1/tenants/acme/signers", &json!({ "name": "build", "public_key": public })).await;
        std::fs::write(dir.path().join("signer.pem"), public).expect("writes");
        Self { dir, rest, key, endpoints, _server: server }
    }

    /// Uploads an image for `r1` and releases it as this version of `os`. Gives the release's id and the image's hash.
    pub(crate) async fn release(&self, version: &str, image: &str) -> (String, Sha256) {
        let bytes = image.as_bytes().to_vec();
        let (sha256, size) = (Sha256::of(&bytes), bytes.len() as u64);
        self.rest.put_bytes(&format!("/v1/tenants/acme/artifacts/{sha256}"), bytes).await;
        let artifact = Artifact { filename: "os.img".into(), hardware: vec!["r1".into()], sha256, size };
        let manifest = Manifest::new("os".into(), version.into(), now(), vec![artifact]).expect("a manifest");
        let signed = SignedRelease::sign(&manifest, &self.key);
        let made = self.rest.post("/v1/tenants/acme/releases", &release_body(&signed)).await;
        (made.get("id").and_then(Value::as_str).expect("an id").to_owned(), sha256)
    }

    /// Rolls a release out to all at once; gives the rollout's path.
    pub(crate) async fn roll_out(&self, release: &str) -> String {
        let policy = json!({ "phases": [{ "target": { "percent": 100 }, "soak_s": 1 }] });
        let name = format!("r{:08x}", SystemRng.next_u64());
        let body = json!({ "name": name, "release": release, "policy": policy });
        let made = self.rest.post("/v1/tenants/acme/rollouts", &body).await;
        format!("/v1/tenants/acme/rollouts/{}", made.get("id").and_then(Value::as_str).expect("an id"))
    }

    /// The deployments of a rollout once the first of this kind has come to an end.
    pub(crate) async fn ended(&self, rollout: &str, kind: &str) -> Value {
        let path = format!("{rollout}/deployments");
        let terminal = ["succeeded", "failed", "rejected", "timed_out", "canceled"];
        self.until(&path, |page| {
            let mut items = page["items"].as_array().cloned().unwrap_or_default().into_iter();
            items.find(|item| item["kind"] == kind && terminal.iter().any(|status| item["status"] == *status))
        })
        .await
    }

    /// Asks until the answer has what is looked for.
    pub(crate) async fn until<T>(&self, path: &str, mut find: impl FnMut(&Value) -> Option<T>) -> T {
        let asking = async {
            loop {
                if let Some(found) = find(&self.rest.get(path).await) {
                    return found;
                }
                pause().await;
            }
        };
        match timeout(PATIENCE, asking).await {
            Ok(found) => found,
            Err(_late) => panic!("{path} never got there: {}\n{}", self.rest.get(path).await, self.logs()),
        }
    }

    /// What the processes said.
    pub(crate) fn logs(&self) -> String {
        let entries = std::fs::read_dir(self.dir.path()).expect("the folder").flatten();
        let logs = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.map(|path| format!("{}:\n{}", path.display(), std::fs::read_to_string(&path).unwrap_or_default()))
            .collect()
    }

    /// A device with a folder, a token and handlers; not running yet.
    pub(crate) async fn device(&self, name: &str) -> Device {
        let folder = self.dir.path().join(name);
        std::fs::create_dir_all(folder.join("handlers")).expect("folders");
        mode(&folder.join("handlers"), 0o755);
        let device = Device {
            name: name.to_owned(),
            folder,
            ports: (port(&self.endpoints, "device"), port(&self.endpoints, "mqtt")),
            signer: self.dir.path().join("signer.pem"),
            log: self.dir.path().join(format!("{name}.log")),
        };
        self.give_token(&device).await;
        device
    }

    /// Gives a device a new enrolment token.
    pub(crate) async fn give_token(&self, device: &Device) {
        let known = self.rest.get("/v1/tenants/acme/devices").await;
        let items = known.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let is_known = items.iter().any(|item| item["name"] == device.name.as_str());
        let body = if is_known {
            json!({ "device": device.name })
        } else {
            json!({ "device": device.name, "hardware": "r1" })
        };
        let made = self.rest.post("/v1/tenants/acme/enroll-tokens", &body).await;
        let token = made.get("token").and_then(Value::as_str).expect("a token");
        // Renamed into place, as a careful person would: a running agent may look at any moment.
        std::fs::write(device.folder.join("token.new"), token).expect("writes");
        std::fs::rename(device.folder.join("token.new"), device.folder.join("token")).expect("renames");
    }
}

fn release_body(signed: &SignedRelease) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    json!({
        "manifest": STANDARD.encode(&signed.manifest),
        "signature": STANDARD.encode(&signed.signature),
        "key_id": signed.key_id.to_string(),
    })
}

/// A device's place on the disk, and how its agent is started.
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    /// For HTTP and for MQTT.
    pub(crate) ports: (u16, u16),
    pub(crate) signer: PathBuf,
    log: PathBuf,
}

impl Device {
    pub(crate) fn handler(&self, key: &str, body: &str) {
        let path = self.folder.join("handlers").join(key);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("writes");
        mode(&path, 0o755);
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.with_file_name("server").join("ca.pem")
    }

    pub(crate) fn start(&self) -> Process {
        self.start_with(&[])
    }

    /// With more options; `env:NAME` and a value set a variable of its environment.
    pub(crate) fn start_with(&self, options: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetward-agent"));
        command.args(["run", "--server", "localhost", "--hardware", "r1", "--initial-version", "1.0", "--device"]);
        command.arg(&self.name).arg("--device-port").arg(self.ports.0.to_string());
        command.arg("--mqtt-port").arg(self.ports.1.to_string());
        command.arg("--ca").arg(self.ca());
        command.arg("--token-file").arg(self.folder.join("token"));
        command.arg("--data-dir").arg(self.data()).arg("--handlers").arg(self.folder.join("handlers"));
        command.arg("--signers").arg(&self.signer);
        for pair in options.chunks(2) {
            match pair {
                [name, value] if name.starts_with("env:") => command.env(&name[4..], value),
                pair => command.args(pair),
            };
        }
        command.stdin(Stdio::null()).stdout(log(&self.log)).stderr(log(&self.log));
        Process(command.spawn().expect("the agent starts"))
    }

    pub(crate) fn status(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleetward-agent"));
        let output = command.arg("status").arg("--data-dir").arg(self.data()).output().expect("runs");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Looks until what is looked for is there.
pub(crate) async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            pause().await;
        }
    };
    timeout(PATIENCE, looking).await.unwrap_or_else(|_late| panic!("{what} never came"))
}

async fn pause() {
    // There is no event to wait for between processes.
    let _waited = timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
}

fn now() -> Timestamp {
    SystemClock::new().now()
}

fn port(endpoints: &Value, name: &str) -> u16 {
    let number = match endpoints[format!("{name}_url")].as_str() {
        Some(url) => url.rsplit(':').next().and_then(|port| port.parse().ok()),
        None => endpoints[format!("{name}_port")].as_u64().and_then(|port| u16::try_from(port).ok()),
    };
    number.unwrap_or_else(|| panic!("{name} in {endpoints}"))
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
}
