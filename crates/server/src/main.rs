//! `fleetward`: the server, and the demonstration that runs it.

mod config;
mod demo;
mod doctor;
mod documents;
mod external;
mod http;
mod listen;
mod metrics;
mod seal;
mod seals;
mod serve;
mod tls;
mod unread;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

// Many small, long-lived connections: an allocator that gives memory back keeps the footprint per connection steady.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Identity, state, updates and proof for fleets of gateways and devices.
#[derive(Parser, Debug)]
#[command(name = "fleetward", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Run the server.
    Serve(Box<config::ServeArgs>),
    /// What keeps the keys shut at rest: show it, rotate what is under it, or put it under another. With the embedded database
    /// the server must be stopped.
    #[command(subcommand)]
    Seal(Box<seal::Seal>),
    /// Check a running server and what is around it, and say what to do.
    Doctor(doctor::DoctorArgs),
    /// Run a server with a simulated fleet and watch an update roll out, a bad cohort stop it, and devices fall back.
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let outcome = match cli.verb {
        Verb::Serve(args) => runtime.block_on(serve::run(*args)).map(|()| ExitCode::SUCCESS),
        Verb::Seal(verb) => runtime.block_on(verb.run()).map(|()| ExitCode::SUCCESS),
        Verb::Doctor(args) => runtime.block_on(doctor::run(args)),
        Verb::Demo(args) => runtime.block_on(demo::run(args)),
    };
    // Whatever still blocks (a reader of a slow disk) must not keep the process from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    outcome.unwrap_or_else(|error| fail(&error))
}

/// One line for people: what was being done and why it failed, outermost first.
fn fail(error: &anyhow::Error) -> ExitCode {
    use std::io::Write;
    writeln!(std::io::stderr().lock(), "fleetward: {error:#}").ok();
    ExitCode::FAILURE
}
