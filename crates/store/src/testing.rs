//! Databases for tests: a SQLite file of one's own, and a throw-away PostgreSQL cluster.
//!
//! The cluster listens on a Unix socket in a temporary folder and on no port. A shell beside it waits for the end of the
//! test process, however that comes, stops the cluster and removes the folder. The owner of its databases is no
//! superuser, so that row-level security binds it. Needs Debian's `postgresql-15` (or a newer one); nothing else of the
//! crate uses this module.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use fleetward_base::{ManualClock, Timestamp};
use tempfile::TempDir;

use crate::{Config, Store};

const MISSING: &str = "PostgreSQL is missing; install it with: \
     apt-get update && apt-get install -y --no-install-recommends postgresql-15";
const SUPERUSER: &str = "postgres";
const OWNER: &str = "fleetward";
/// Waits until its input ends, then cleans up.
const GUARDIAN: &str = "trap '' INT TERM HUP; cat >/dev/null; \
     \"$1/pg_ctl\" -D \"$2/data\" -m immediate stop >/dev/null 2>&1; rm -rf \"$2\"";

/// How careful the cluster is with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `fsync=off`: fast; nothing survives a crash of the machine.
    None,
    /// As in service; for measuring.
    Full,
}

/// A PostgreSQL server of one's own.
#[derive(Debug)]
pub struct PostgresCluster {
    bin: PathBuf,
    folder: PathBuf,
    databases: AtomicU64,
    guardian: Mutex<Child>,
}

impl PostgresCluster {
    /// The one that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresCluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Durability::None).expect("a PostgreSQL cluster can be started"))
    }

    pub fn start(durability: Durability) -> io::Result<Self> {
        let bin = programs()?;
        let folder = TempDir::with_prefix("fleetward-pg-")?.keep();
        if let Some(ids) = unprivileged()? {
            std::os::unix::fs::chown(&folder, Some(ids.0), Some(ids.1))?;
        }
        let guardian = command(Path::new("sh"))?
            .args(["-c", GUARDIAN, "sh"])
            .args([&bin, &folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let cluster = Self { bin, folder, databases: AtomicU64::new(0), guardian: Mutex::new(guardian) };
        let data = cluster.folder.join("data");
        cluster.run("initdb", |initdb| {
            initdb.arg("-D").arg(&data).args(["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]);
            initdb.args(["--no-sync"]);
        })?;
        let mut settings = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(settings, "listen_addresses = ''\nunix_socket_directories = '{}'", cluster.folder.display())?;
        writeln!(settings, "max_connections = 200\nshared_buffers = 64MB\nautovacuum_naptime = 10s")?;
        if durability == Durability::None {
            writeln!(settings, "fsync = off\nfull_page_writes = off\nsynchronous_commit = off")?;
        }
        drop(settings);
        cluster.resume()?;
        cluster.psql("postgres", &format!("CREATE ROLE {OWNER} LOGIN"))?;
        Ok(cluster)
    }

    /// Makes the server listen on a free port of 127.0.0.1, for TLS only, and starts it again; the port. Make the database
    /// before: the socket moves with the port.
    pub fn listen_with_tls(&self, certificate_pem: &str, key_pem: &str) -> io::Result<u16> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let data = self.folder.join("data");
        for (name, pem) in [("server.crt", certificate_pem), ("server.key", key_pem)] {
            let path = data.join(name);
            let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
            file.write_all(pem.as_bytes())?;
            if let Some(ids) = unprivileged()? {
                std::os::unix::fs::chown(&path, Some(ids.0), Some(ids.1))?;
            }
        }
        let mut settings = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(settings, "listen_addresses = '127.0.0.1'\nport = {port}\nssl = on")?;
        std::fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all 127.0.0.1/32 trust\n")?;
        self.crash()?;
        self.resume()?;
        Ok(port)
    }

    /// A new, empty database; its address.
    pub fn create_database(&self) -> io::Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} OWNER {OWNER}"))?;
        Ok(self.address(&name))
    }

    fn address(&self, database: &str) -> String {
        let host = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://{OWNER}@{host}/{database}")
    }

    /// Runs statements as the superuser, past every policy; the unaligned output.
    pub fn psql(&self, database: &str, sql: &str) -> io::Result<String> {
        let output = self.run("psql", |psql| {
            psql.arg("-h").arg(&self.folder).args(["-U", SUPERUSER, "-d", database]);
            psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stops the server at once, as a crash would.
    pub fn crash(&self) -> io::Result<()> {
        let data = self.folder.join("data");
        self.run("pg_ctl", |ctl| {
            ctl.arg("-D").arg(&data).args(["-m", "immediate", "-w", "stop"]);
        })?;
        Ok(())
    }

    /// Starts it, or starts it again.
    pub fn resume(&self) -> io::Result<()> {
        let (data, log) = (self.folder.join("data"), self.folder.join("log"));
        self.run("pg_ctl", |ctl| {
            ctl.arg("-D").arg(&data).arg("-l").arg(&log).args(["-w", "start"]);
            // The server must not keep the pipes of this process open.
            ctl.stdout(Stdio::null()).stderr(Stdio::null());
        })?;
        Ok(())
    }

    fn run(&self, program: &str, with: impl FnOnce(&mut Command)) -> io::Result<Output> {
        let mut command = command(&self.bin.join(program))?;
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        with(&mut command);
        let output = command.spawn()?.wait_with_output()?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(io::Error::other(format!("{program} failed ({}): {said}", output.status)))
    }
}

impl Drop for PostgresCluster {
    fn drop(&mut self) {
        let mut guardian = self.guardian.lock().unwrap_or_else(PoisonError::into_inner);
        drop(guardian.stdin.take());
        if guardian.wait().is_err() {
            tracing::warn!("the PostgreSQL cluster of the test may still run");
        }
    }
}

/// The folder of the newest server programs of Debian.
fn programs() -> io::Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").map_err(|_| io::Error::other(MISSING))?;
    let mut found: Vec<(u32, PathBuf)> = versions
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(version, bin)| *version >= 15 && bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).ok_or_else(|| io::Error::other(MISSING))
}

/// User and group that the server runs as, where this process is root (PostgreSQL refuses to be).
fn unprivileged() -> io::Result<Option<(u32, u32)>> {
    let id = |args: &[&str]| -> io::Result<u32> {
        let output = Command::new("id").args(args).output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        text.parse().map_err(|_| io::Error::other(format!("id {args:?} answered {text:?}")))
    };
    if id(&["-u"])? == 0 { Ok(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?))) } else { Ok(None) }
}

fn command(program: &Path) -> io::Result<Command> {
    let Some((user, group)) = unprivileged()? else { return Ok(Command::new(program)) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups", "--"]).arg(program);
    Ok(command)
}

/// A store that is gone with its value.
#[derive(Debug)]
pub struct TestStore {
    pub store: Store,
    pub config: Config,
    /// Where the SQLite file is.
    pub folder: Option<TempDir>,
}

impl TestStore {
    /// On a new SQLite file.
    pub async fn sqlite() -> Self {
        let folder = TempDir::with_prefix("fleetward-store-").expect("a temporary folder can be made");
        let config = Config::sqlite(folder.path().join("fleetward.db"));
        let store = Store::open(&config, &clock()).await.expect("a new file can be opened");
        Self { store, config, folder: Some(folder) }
    }

    /// On a new database of the shared cluster.
    pub async fn postgres() -> Self {
        let address = tokio::task::spawn_blocking(|| PostgresCluster::shared().create_database());
        let address = address.await.expect("the task ends").expect("a database can be created");
        let config = Config { connections: 8, ..Config::postgres(address) };
        let store = Store::open(&config, &clock()).await.expect("a new database can be opened");
        Self { store, config, folder: None }
    }
}

/// The moment at which stores of tests are opened.
fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(1_795_000_000))
}
