//! `fleetward-sim`: benchmarks of the server, and the load that they make.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleetward_sim::bench;

/// Measure a Fleetward server from outside.
#[derive(Parser, Debug)]
#[command(name = "fleetward-sim", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run one benchmark against a server of its own and print its figures.
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let Verb::Bench(args) = Cli::parse().verb;
    match measure(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            writeln!(std::io::stderr().lock(), "fleetward-sim: {cause:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &bench::BenchArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(bench::run(args))?;
    let text = if args.json { figures.json().to_string() } else { figures.table() };
    writeln!(std::io::stdout().lock(), "{}", text.trim_end())?;
    Ok(())
}
