//! The tree that is checked: its root, its files and its crates as cargo sees them.
//!
//! Files are found by walking, so that one which is not committed yet is checked too; what is built or fetched is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Folders that hold nothing written by hand.
const SKIPPED: &[&str] = &["target", "node_modules", ".git", "demo-data", "__pycache__", "dist", ".venv"];

/// The checked-out tree.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
}

/// One of our crates with what it asks for.
#[derive(Debug)]
pub(crate) struct Package {
    /// Folder name, which is also the package name without `fleetward-`.
    pub(crate) name: String,
    /// Edges to our own crates: name, and whether it is for tests only.
    pub(crate) ours: BTreeMap<String, Use>,
    /// Crates of others that the production part uses.
    pub(crate) foreign: Vec<String>,
}

/// What an edge between two of our crates is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Production,
    TestsOnly,
}

impl Workspace {
    /// The workspace that this program was built from, or the current folder's.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let here = match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(manifest) => PathBuf::from(manifest).parent().context("xtask has a parent folder")?.to_owned(),
            None => std::env::current_dir()?,
        };
        Ok(Self { root: here })
    }

    /// Files below the root whose name ends so, as paths relative to it, sorted.
    pub(crate) fn files(&self, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type()?;
                if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
                    folders.push(entry.path());
                } else if kind.is_file() && name.ends_with(ending) {
                    found.push(entry.path().strip_prefix(&self.root)?.to_owned());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    pub(crate) fn read(&self, path: &Path) -> anyhow::Result<String> {
        std::fs::read_to_string(self.root.join(path)).with_context(|| path.display().to_string())
    }

    /// Our crates, from `cargo metadata`.
    pub(crate) fn packages(&self) -> anyhow::Result<Vec<Package>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = std::process::Command::new(cargo)
            .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
            .current_dir(&self.root)
            .output()
            .context("cargo metadata")?;
        anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let packages = metadata.get("packages").and_then(|list| list.as_array()).context("packages")?;
        packages.iter().map(package).collect()
    }
}

fn package(json: &serde_json::Value) -> anyhow::Result<Package> {
    let text = |value: &serde_json::Value, key: &str| value.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    let name = short(&text(json, "name").context("a package has a name")?);
    let mut ours = BTreeMap::new();
    let mut foreign = Vec::new();
    for dependency in json.get("dependencies").and_then(|list| list.as_array()).into_iter().flatten() {
        let wanted = text(dependency, "name").context("a dependency has a name")?;
        let tests_only = text(dependency, "kind").as_deref() == Some("dev");
        if dependency.get("path").is_some_and(serde_json::Value::is_string) {
            let edge = if tests_only { Use::TestsOnly } else { Use::Production };
            let known = ours.entry(short(&wanted)).or_insert(edge);
            if edge == Use::Production {
                *known = Use::Production;
            }
        } else if !tests_only {
            foreign.push(wanted);
        }
    }
    Ok(Package { name, ours, foreign })
}

fn short(package: &str) -> String {
    package.strip_prefix("fleetward-").unwrap_or(package).to_owned()
}
