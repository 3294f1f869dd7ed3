//! A throw-away PostgreSQL cluster: made with `initdb`, durable as by default, gone with its folder.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::mosquitto::free_port;
use crate::server::tail;

const START: Duration = Duration::from_secs(20);

/// A running cluster with one database, whose owner is no superuser: row-level security binds it.
pub(crate) struct Postgres {
    /// `postgres://...` for the server.
    pub(crate) url: String,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    folder: TempDir,
}

impl Postgres {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fleetward-postgres-").tempdir()?;
        let user = if rustix::process::geteuid().is_root() { Some(postgres_user()?) } else { None };
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let port = free_port()?;
        let url = format!("postgres://fleetward@127.0.0.1:{port}/fleetward");
        let cluster = Self { url, programs: programs()?, user, folder };
        cluster.run("initdb", &["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", &cluster.data()])?;
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''");
        let log = cluster.folder.path().join("log").display().to_string();
        let wait = START.as_secs().to_string();
        cluster
            .run("pg_ctl", &["-D", &cluster.data(), "-l", &log, "-o", &options, "-w", "-t", &wait, "start"])
            .with_context(|| tail(Path::new(&log)))?;
        for sql in ["CREATE ROLE fleetward LOGIN", "CREATE DATABASE fleetward OWNER fleetward"] {
            let port = port.to_string();
            cluster.run("psql", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-X", "-q", "-c", sql])?;
        }
        Ok(cluster)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.programs.join(program));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        // Standard output may stay open with the server that `pg_ctl` leaves behind: it is not for us to read.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().with_context(|| format!("running {program}"))?;
        anyhow::ensure!(status.success(), "{program} failed with {status}");
        Ok(())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The folder goes next; a cluster that does not stop would write to nowhere and end.
        let _stopped = self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]);
    }
}

/// PostgreSQL refuses to run as root: Debian's package makes a user for it.
fn postgres_user() -> anyhow::Result<(u32, u32)> {
    let accounts = std::fs::read_to_string("/etc/passwd")?;
    let line = accounts.lines().find(|line| line.starts_with("postgres:")).context("there is no user `postgres`")?;
    let mut fields = line.split(':').skip(2);
    let mut number = || fields.next().and_then(|field| field.parse().ok());
    number().zip(number()).context("the account `postgres` has no numbers")
}

/// Debian keeps the server's programs by version, out of the path.
fn programs() -> anyhow::Result<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        installed.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists()).collect();
    found.sort();
    found.pop().context("PostgreSQL is not installed: `apt install postgresql`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_comes_and_goes() {
        let cluster = Postgres::start().await.expect("a cluster");
        let port: u16 = cluster.url.split([':', '/']).filter_map(|part| part.parse().ok()).next().expect("a port");
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        drop(cluster);
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
