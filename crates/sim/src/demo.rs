//! The demo: a server, three tenants, a simulated fleet, three real agents and one rollout that goes wrong.

use std::path::PathBuf;
use std::process::ExitCode;

/// Run a server with a simulated fleet and watch an update roll out, a bad cohort stop it, and devices fall back.
#[derive(clap::Args, Clone, Debug)]
pub struct DemoArgs {
    /// Folder for everything; a new one in the temporary folder when absent.
    #[arg(long)]
    pub data_dir: Option<PathBuf>,

    /// Simulated devices over the three tenants.
    #[arg(long, default_value_t = 300)]
    pub devices: usize,

    /// End when the story has been told; the exit status says whether it went as expected.
    #[arg(long)]
    pub until_done: bool,

    /// Print the report as JSON on standard output.
    #[arg(long)]
    pub json: bool,

    /// The `fleetward` executable; this program when absent.
    #[arg(long, hide = true)]
    pub server_bin: Option<PathBuf>,

    /// The `fleetward-agent` executable; the one beside this program when absent.
    #[arg(long, hide = true)]
    pub agent_bin: Option<PathBuf>,
}

/// Tells the story. Success means that everything was seen as expected.
pub async fn run(_args: DemoArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the story is not written yet")
}
