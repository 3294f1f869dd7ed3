//! `fleetward demo`: the story of the README, run for real. The story itself lives in the workshop crate.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Folder for the server's data and `demo.env`; made when absent, and a fresh temporary one by default.
    #[arg(long)]
    data_dir: Option<PathBuf>,

    /// Simulated devices, over three tenants.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(30..=20_000))]
    devices: u32,

    /// End when the story has ended, and say by the exit status whether it went as expected.
    #[arg(long)]
    until_done: bool,

    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let plan = fleetward_sim::demo::Options {
        server: std::env::current_exe()?,
        data_dir: args.data_dir,
        devices: args.devices,
        until_done: args.until_done,
        json: args.json,
    };
    let ok = fleetward_sim::demo::run(plan).await?;
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
