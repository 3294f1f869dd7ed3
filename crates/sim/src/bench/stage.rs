//! What every benchmark needs first: a fresh server, an administrator, a tenant; and what the server used meanwhile.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock, SystemClock, TenantId};
use tempfile::TempDir;

use super::BenchArgs;
use crate::process::Memory;
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
    /// At the end of the stretch.
    pub(crate) memory: Memory,
}

/// The beginning of a measured stretch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Duration,
    cpu: Duration,
}

impl Stage {
    /// A fresh server on the embedded database, or on `database`.
    pub(crate) async fn raise(args: &BenchArgs, database: Option<String>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fleetward-bench-").tempdir()?;
        let options = ServerOptions {
            bin: server_bin(args)?,
            data_dir: folder.path().join("data"),
            database,
            publish_rate: PUBLISH_RATE,
            default_tenant: None,
        };
        let server = Server::start(&options).await?;
        let token = server.first_administrator().await.context("first administrator")?;
        let rest = server.rest(&token)?;
        let tenant: TenantId = "bench".parse()?;
        rest.create_tenant(&tenant, "Benchmark").await?;
        Ok(Self { server, rest, tenant, clock: SystemClock::new(), options, token, _folder: folder })
    }

    /// Stops the server and starts it again on the same data: a process that has done nothing yet.
    pub(crate) async fn restart(mut self) -> anyhow::Result<Self> {
        self.server.stop().await?;
        self.server = Server::start(&self.options).await?;
        self.rest = self.server.rest(&self.token)?;
        Ok(self)
    }

    pub(crate) async fn close(self) -> anyhow::Result<()> {
        self.server.stop().await
    }

    pub(crate) fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark { at: self.clock.monotonic(), cpu: self.server.cpu_time()? })
    }

    pub(crate) fn since(&self, mark: Mark) -> anyhow::Result<Used> {
        let cpu = self.server.cpu_time()?.saturating_sub(mark.cpu);
        Ok(Used { wall: self.clock.monotonic().saturating_sub(mark.at), cpu, memory: self.server.memory()? })
    }
}

fn server_bin(args: &BenchArgs) -> anyhow::Result<PathBuf> {
    match &args.server_bin {
        Some(path) => Ok(path.clone()),
        None => beside("fleetward"),
    }
}
