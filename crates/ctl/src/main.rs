//! The operators' command line: nouns and verbs over the public API, and nothing else.
//!
//! It has no privilege that `curl` has not. Standard output carries the answer, standard error what is meant for a person;
//! exit codes are a contract (`docs/wardctl.md`). To add a noun: a file in [`commands`] with its verbs, and a line in
//! [`commands::Command`].

mod client;
mod commands;
mod failure;
mod output;
mod session;
mod stream;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;
use crate::session::{Session, Target};

/// Exit codes, as `--help` shows them.
const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  an error that has no code of its own
  2  the command line is wrong
  3  not found
  4  not signed in, or not permitted
  5  conflict, or somebody changed it meanwhile
  6  some were done and some were not
  7  timed out
  8  the rollout or rotation paused, was canceled or rolled back (watch --exit-status)";

/// Fleetward's command line for operators.
#[derive(Debug, Parser)]
#[command(name = "wardctl", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match Session::open(cli.target) {
        Ok(session) => cli.command.run(&session).await,
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::note(&format!("error: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_is_never_shown_by_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("FLEETWARD_TOKEN") && !help.contains("FLEETWARD_TOKEN="), "{help}");
    }
}
