//! Checks of the house and generated files: `cargo xtask COMMAND`.
//!
//! One file per command. Each has `run(&Workspace, args)` and a row in [`COMMANDS`]; a command that generates a file takes
//! `--check`, writes nothing then, and fails where the file on disk differs.

mod limits;
mod openapi;
mod tidy;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&Workspace, &[String]) -> anyhow::Result<Vec<String>>,
}

/// Every command. What it returns is printed line by line; an error makes the exit code 1.
const COMMANDS: &[Command] = &[
    Command { name: "tidy", about: "hold the tree against the rules of the house", run: tidy::run },
    Command { name: "limits", about: "write docs/limits.md from base::limits [--check]", run: limits::run },
    Command { name: "openapi", about: "write openapi.json from the REST door [--check]", run: openapi::run },
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => Workspace::find().and_then(|workspace| (command.run)(&workspace, &rest)),
        None => Err(anyhow::anyhow!(usage())),
    };
    match outcome {
        Ok(lines) => {
            say(&mut std::io::stdout().lock(), &lines);
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&mut std::io::stderr().lock(), &[format!("{error:#}")]);
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let rows = COMMANDS.iter().map(|command| format!("  {:<10}{}", command.name, command.about));
    format!("usage: cargo xtask COMMAND [--check]\n{}", rows.collect::<Vec<_>>().join("\n"))
}

/// A closed pipe is the reader's choice and no failure of the check.
fn say(out: &mut dyn std::io::Write, lines: &[String]) {
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}
