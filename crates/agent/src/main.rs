//! The device agent: command line, logs, and beginning anew.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use fleetward_agent::agent::{Agent, AgentError, Exit};
use fleetward_agent::options::{Options, RunOptions, Verb};
use fleetward_agent::status;
use fleetward_base::{SystemClock, SystemRng};

fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Verb::Run(options) => {
            log();
            run(options)
        }
        Verb::Status(options) => show_status(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _unseen = writeln!(std::io::stderr().lock(), "fleetward-agent: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn log() {
    let level = std::env::var("FLEETWARD_LOG").ok().and_then(|text| text.parse().ok());
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_max_level(level.unwrap_or(tracing::Level::INFO))
        .init();
}

fn run(options: RunOptions) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot begin: {error}"))?;
    let exit = runtime.block_on(async {
        let agent = Agent::open(options, Arc::new(SystemClock::new()), Arc::new(SystemRng))?;
        agent.run().await
    });
    runtime.shutdown_background();
    match exit.map_err(|error: AgentError| error.to_string())? {
        Exit::Stop => Ok(()),
        Exit::Restart => Err(begin_anew()),
    }
}

/// Replaces this process by a new one of the same program with the same arguments. Returns only where that fails; whoever
/// supervises the agent starts it again then.
fn begin_anew() -> String {
    let program = match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        // The file was replaced while we ran: the new one has the old one's place.
        _ => std::env::args_os().next().unwrap_or_default().into(),
    };
    let error = std::process::Command::new(&program).args(std::env::args_os().skip(1)).exec();
    format!("cannot begin anew as {}: {error}", program.display())
}

fn show_status(options: &fleetward_agent::options::StatusOptions) -> Result<(), String> {
    let text = status::describe(&options.data_dir).map_err(|error| error.to_string())?;
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| error.to_string())
}
