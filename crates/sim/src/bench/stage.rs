//! What every benchmark needs first: a fresh server, an administrator, a tenant; and what the server used meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock, SystemClock, TenantId};
use tempfile::TempDir;

use super::BenchArgs;
use crate::process::{self, Memory};
use crate::rest::Rest;
use crate::server::{Server, ServerOptions, beside};

/// More than any load here sends, so that the quota is in force and never reached.
const PUBLISH_RATE: u32 = 1_000_000;

/// A server in a folder of its own, with one tenant.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) rest: Rest,
    pub(crate) tenant: TenantId,
    pub(crate) clock: SystemClock,
    options: ServerOptions,
    token: String,
    /// Removed with everything in it when the stage is dropped.
    _folder: TempDir,
}

/// What the server used over a stretch of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// What this process, which makes the load, used of the same machine.
    pub(crate) load: Duration,
    /// At the end of the stretch.
    pub(crate) memory: Memory,
}

/// The beginning of a measured stretch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Duration,
    cpu: Duration,
    load: Duration,
}

impl Stage {
    /// A fresh server on the embedded database, or on `database`.
    pub(crate) async fn raise(args: &BenchArgs, database: Option<String>) -> anyhow::Result<Self> {
        Self::raise_as(args, database, false).await
    }

    /// As [`raise`](Self::raise), with the port where lists and OCSP are.
    pub(crate) async fn raise_with_pki(args: &BenchArgs) -> anyhow::Result<Self> {
        Self::raise_as(args, None, true).await
    }

    async fn raise_as(args: &BenchArgs, database: Option<String>, pki: bool) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fleetward-bench-").tempdir()?;
        let options = ServerOptions {
            bin: server_bin(args)?,
            data_dir: folder.path().join("data"),
            database,
            publish_rate: PUBLISH_RATE,
            default_tenant: None,
            pki,
        };
        let server = Server::start(&options).await?;
        let token = server.first_administrator().await.context("first administrator")?;
        let rest = server.rest(&token)?;
        let tenant: TenantId = "bench".parse()?;
        rest.create_tenant(&tenant, "Benchmark").await?;
        Ok(Self { server, rest, tenant, clock: SystemClock::new(), options, token, _folder: folder })
    }

    /// Stops the server and starts it again on the same data: a process that has done nothing yet.
    pub(crate) async fn restart(self) -> anyhow::Result<Self> {
        Ok(self.between(async |_| Ok(())).await?.0)
    }

    /// As [`restart`](Self::restart), with `work` on the folder of its data while no server runs.
    pub(crate) async fn between<T>(
        mut self,
        work: impl AsyncFnOnce(&Path) -> anyhow::Result<T>,
    ) -> anyhow::Result<(Self, T)> {
        self.server.stop().await?;
        let made = work(&self.options.data_dir).await?;
        self.server = Server::start(&self.options).await?;
        self.rest = self.server.rest(&self.token)?;
        Ok((self, made))
    }

    /// Of the administrator.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// What the database takes on disk, its log included.
    pub(crate) fn disk_bytes(&self) -> anyhow::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.options.data_dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("fleetward.db") {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }

    /// Where lists and OCSP are handed out.
    pub(crate) fn pki_address(&self) -> anyhow::Result<SocketAddr> {
        let url: http::Uri = self.server.endpoints.pki_url.as_deref().context("there is no such port")?.parse()?;
        let port = url.port_u16().context("the URL has no port")?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.server.stop().await
    }

    pub(crate) fn mark(&self) -> anyhow::Result<Mark> {
        let load = process::cpu_time(std::process::id())?;
        Ok(Mark { at: self.clock.monotonic(), cpu: self.server.cpu_time()?, load })
    }

    pub(crate) fn since(&self, mark: Mark) -> anyhow::Result<Used> {
        let cpu = self.server.cpu_time()?.saturating_sub(mark.cpu);
        let load = process::cpu_time(std::process::id())?.saturating_sub(mark.load);
        Ok(Used { wall: self.clock.monotonic().saturating_sub(mark.at), cpu, load, memory: self.server.memory()? })
    }
}

fn server_bin(args: &BenchArgs) -> anyhow::Result<PathBuf> {
    match &args.server_bin {
        Some(path) => Ok(path.clone()),
        None => beside("fleetward"),
    }
}
