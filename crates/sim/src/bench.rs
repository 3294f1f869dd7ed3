//! The benchmarks: each starts a server of its own, drives it from outside and prints figures of one run.
//!
//! CPU time and memory are those of the server's process alone. Client and server share the machine, so throughput by
//! the wall clock says less than throughput by the server's CPU second; both are given. A benchmark fails, and prints no
//! figures, when a single operation of its load went wrong.

mod asking;
mod connect;
mod crl;
mod crypto;
mod delta;
mod enroll;
mod fanout;
mod figures;
mod fill;
mod fleet;
mod idle;
mod jobs;
mod load;
mod million;
pub(crate) mod mosquitto;
mod ocsp;
mod postgres;
mod progress;
mod publish;
mod responder;
mod resume;
mod revoke;
mod shadow;
mod share;
mod stage;
mod storm;
mod target;
mod trickle;

use std::path::PathBuf;

pub use figures::Figures;

/// Run one benchmark.
#[derive(clap::Args, Clone, Debug)]
pub struct BenchArgs {
    #[arg(value_enum)]
    pub name: Bench,

    /// Print `{"bench":NAME,"metrics":{...}}` instead of a table.
    #[arg(long)]
    pub json: bool,

    /// Devices in the load; each benchmark has its own default.
    #[arg(long)]
    pub devices: Option<usize>,

    /// Connections held at once, where that differs from the devices.
    #[arg(long)]
    pub connections: Option<usize>,

    /// Length of each measured stretch, in seconds.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,

    /// Messages of one connection in flight, for `publish`: 20 and then 1 when absent.
    #[arg(long)]
    pub window: Option<usize>,

    /// The `fleetward` executable; the one beside this program when absent.
    #[arg(long, env = "FLEETWARD_SERVER_BIN")]
    pub server_bin: Option<PathBuf>,
}

/// What can be measured.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bench {
    /// Memory of the server for each of many idle mTLS connections.
    Idle,
    /// Full mTLS handshakes, and whole MQTT connects, by CPU second.
    Connect,
    /// Durable EST enrolments, on kept connections and on fresh mTLS ones.
    Enroll,
    /// QoS 1 messages that are queued for an offline session before they are acknowledged; Mosquitto beside it.
    Publish,
    /// Durable shadow updates, on SQLite and on PostgreSQL.
    Shadow,
    /// What operators want, until each device has heard it, at a thousand changes a second; on SQLite and on PostgreSQL.
    Delta,
    /// A job for every connected device, and all of them at work; on SQLite and on PostgreSQL.
    Jobs,
    /// Each message to many that subscribe; Mosquitto beside it.
    Fanout,
    /// Each message to one of many that share a subscription; Mosquitto beside it.
    Shared,
    /// Sessions that come back to what was queued for them; Mosquitto beside it.
    Resume,
    /// All devices connect at once to a server that has just started; Mosquitto beside it.
    Storm,
    /// Many sessions revoked at once.
    Revoke,
    /// OCSP about a million certificates, signed before and on demand; OpenSSL's responder beside it, with fewer.
    Ocsp,
    /// Lists of revoked certificates of a million: made, found out about, fetched; and what they weigh.
    Crl,
}

impl Bench {
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Enroll => "enroll",
            Self::Publish => "publish",
            Self::Shadow => "shadow",
            Self::Delta => "delta",
            Self::Jobs => "jobs",
            Self::Fanout => "fanout",
            Self::Shared => "shared",
            Self::Resume => "resume",
            Self::Storm => "storm",
            Self::Revoke => "revoke",
            Self::Ocsp => "ocsp",
            Self::Crl => "crl",
        }
    }
}

/// Runs the benchmark that `args` name.
pub async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    crate::net::raise_open_files();
    match args.name {
        Bench::Idle => idle::run(args).await,
        Bench::Connect => connect::run(args).await,
        Bench::Enroll => enroll::run(args).await,
        Bench::Publish => publish::run(args).await,
        Bench::Shadow => shadow::run(args).await,
        Bench::Delta => delta::run(args).await,
        Bench::Jobs => jobs::run(args).await,
        Bench::Fanout => fanout::run(args).await,
        Bench::Shared => share::run(args).await,
        Bench::Resume => resume::run(args).await,
        Bench::Storm => storm::run(args).await,
        Bench::Revoke => revoke::run(args).await,
        Bench::Ocsp => ocsp::run(args).await,
        Bench::Crl => crl::run(args).await,
    }
}
