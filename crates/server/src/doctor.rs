//! `fleetward doctor`: asks the running server for its examination, looks at the machine around it, and says what to do.
//!
//! What only the server can know it finds out itself (`fleetward_app::doctor`); here are the things around it: the data folder,
//! the room on its disk, the names that it is reached by. Exit status 1 where something fails.

mod around;
pub(crate) mod door;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use fleetward_app::doctor::{Check, Report, Verdict};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(30);
const BODY_BYTES: usize = 256 * 1024;

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// The data folder of the server.
    #[arg(long, env = "FLEETWARD_DATA_DIR", default_value = "fleetward-data")]
    data_dir: PathBuf,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut checks = around::folder(&args.data_dir);
    match around::endpoints(&args.data_dir) {
        Err(check) => checks.push(check),
        Ok(endpoints) => {
            checks.extend(around::names(&endpoints).await);
            match tokio::time::timeout(DEADLINE, ask(&endpoints)).await {
                Ok(Ok(found)) => checks.extend(found),
                Ok(Err(error)) => checks.push(unreachable(&format!("{error:#}"))),
                Err(_) => checks.push(unreachable("it does not answer")),
            }
        }
    }
    let report = Report { checks };
    if args.json {
        print_json(&report)?
    } else {
        print_table(&report)?
    }
    Ok(if report.verdict() == Verdict::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn unreachable(why: &str) -> Check {
    Check::fail("server", why, "is it running? `fleetward serve` with the same --data-dir; its log says more")
}

/// What the server found out about itself, from its private listener.
async fn ask(endpoints: &Value) -> anyhow::Result<Vec<Check>> {
    let metrics =
        endpoints.get("metrics_url").and_then(Value::as_str).context("endpoints.json names no metrics_url")?;
    let url = metrics.replace("/metrics", "/healthz/deep");
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client.get(url.parse().context("the address of the server")?).await.context("asking the server")?;
    let body =
        Limited::new(answer.into_body(), BODY_BYTES).collect().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let report: Value = serde_json::from_slice(&body.to_bytes()).context("the server's answer")?;
    let checks = report.get("checks").and_then(Value::as_array).context("the server's answer has no checks")?;
    Ok(checks.iter().filter_map(read).collect())
}

/// Names that a check of the server may have: those that the program knows.
const NAMES: [&str; 6] = ["store", "clock", "seal", "issuers", "expiry", "broker"];

fn read(check: &Value) -> Option<Check> {
    let text = |field: &str| check.get(field).and_then(Value::as_str);
    let known = text("name")?;
    let name = NAMES.into_iter().find(|name| *name == known).unwrap_or("server");
    let verdict = match text("verdict")? {
        "ok" => Verdict::Ok,
        "warn" => Verdict::Warn,
        _ => Verdict::Fail,
    };
    Some(Check { name, verdict, detail: text("detail")?.to_owned(), remedy: text("remedy").map(str::to_owned) })
}

/// A report as the private listener and `--json` have it.
pub(crate) fn document(report: &Report) -> Value {
    let check = |check: &Check| {
        json!({
            "name": check.name,
            "verdict": check.verdict.as_str(),
            "detail": check.detail,
            "remedy": check.remedy,
        })
    };
    json!({ "verdict": report.verdict().as_str(), "checks": report.checks.iter().map(check).collect::<Vec<_>>() })
}

fn print_json(report: &Report) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{:#}", document(report))
}

fn print_table(report: &Report) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for check in &report.checks {
        writeln!(out, "{:<5} {:<8} {}", check.verdict.as_str(), check.name, check.detail)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:15}-> {remedy}", "")?;
        }
    }
    let said = match report.verdict() {
        Verdict::Ok => "All is well.",
        Verdict::Warn => "It works; look at the warnings.",
        Verdict::Fail => "Something does not work.",
    };
    writeln!(out, "{said}")
}
