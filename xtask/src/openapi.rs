//! `cargo xtask openapi`: writes `openapi.json`, the description of the operators' API, from the door's own code.
//!
//! The door is built and asked by an example of its crate, so that this crate need not be built with it.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::workspace::Workspace;

const FILE: &str = "openapi.json";

pub(crate) fn run(workspace: &Workspace, args: &[String]) -> anyhow::Result<Vec<String>> {
    let described = described(workspace)?;
    if args.iter().any(|arg| arg == "--check") {
        anyhow::ensure!(workspace.read(Path::new(FILE))? == described, "{FILE} is stale: run `cargo xtask openapi`");
        return Ok(vec![format!("{FILE} is up to date")]);
    }
    std::fs::write(workspace.root.join(FILE), described).context(FILE)?;
    Ok(vec![format!("wrote {FILE}")])
}

fn described(workspace: &Workspace) -> anyhow::Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--quiet", "--package", "fleetward-front-rest", "--example", "openapi"])
        .current_dir(&workspace.root)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    anyhow::ensure!(output.status.success(), "the door could not be asked");
    String::from_utf8(output.stdout).context(FILE)
}
