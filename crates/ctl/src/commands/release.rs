//! `wardctl release`: manifests are made and signed here; the server gets them ready and cannot make one itself.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand};
use fleetward_base::{Clock, SystemClock};
use fleetward_supply::trust::SignedRelease;
use fleetward_supply::{Artifact, Manifest};
use serde_json::{Value, json};

use super::upload::{self, Measured};
use crate::failure::Failure;
use crate::output::{Column, Format};
use crate::session::{Session, query};

const COLUMNS: [Column; 6] = [
    ("NAME", "/name"),
    ("VERSION", "/version"),
    ("HARDWARE", "/hardware"),
    ("KEY ID", "/key_id"),
    ("CREATED", "/created_at"),
    ("ID", "/id"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Hash, sign, upload and register a release
    Create(Create),
    #[command(visible_alias = "ls")]
    List {
        #[arg(long)]
        name: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// By NAME@VERSION or id
    Show { release: String },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    #[arg(long)]
    name: String,
    #[arg(long)]
    version: String,
    /// The private key file made by `wardctl key create`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// A file and the hardware revisions that it is made for; once for each file
    #[arg(long = "artifact", required = true, value_name = "FILE=HW[,HW]...")]
    artifacts: Vec<Part>,
    /// JSON file with what devices measure that run it, by hardware revision: {"rev-b": {"event/4": ["HEX"]}}
    ///
    /// Agents from before this field refuse a manifest that has it.
    #[arg(long, value_name = "FILE")]
    measurements: Option<PathBuf>,
}

/// One `--artifact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    file: PathBuf,
    hardware: Vec<String>,
}

impl FromStr for Part {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // From the right: file names may hold `=`, hardware revisions do not.
        let (file, hardware) = text.rsplit_once('=').ok_or("must be FILE=HW[,HW]...")?;
        let hardware: BTreeSet<String> =
            hardware.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect();
        if file.is_empty() || hardware.is_empty() {
            return Err("must be FILE=HW[,HW]...".to_owned());
        }
        Ok(Self { file: file.into(), hardware: hardware.into_iter().collect() })
    }
}

impl Release {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List { name, limit } => {
                let path = session.path(&["releases"]).await? + &query(&[("name", name.as_deref())]);
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Show { release } => show(session, find(session, &release).await?),
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let key = super::key::signing_key(&self.key)?;
        let mut parts = Vec::new();
        for part in self.artifacts {
            let measured = upload::measure(&part.file)?;
            parts.push((part, measured));
        }
        let artifacts = parts.iter().map(|(part, measured)| described(part, measured)).collect::<Result<_, _>>()?;
        let manifest = Manifest::new(self.name, self.version, SystemClock::new().now(), artifacts)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let manifest = match &self.measurements {
            Some(file) => measured(manifest, file)?,
            None => manifest,
        };
        let signed = SignedRelease::sign(&manifest, &key);
        for (part, measured) in &parts {
            upload::upload(session, &part.file, measured).await?;
        }
        let body = json!({
            "manifest": BASE64_STANDARD.encode(&signed.manifest),
            "signature": BASE64_STANDARD.encode(&signed.signature),
            "key_id": signed.key_id.to_string(),
        });
        show(session, session.client.post(&session.path(&["releases"]).await?, &body).await?.value)
    }
}

fn measured(manifest: Manifest, file: &PathBuf) -> Result<Manifest, Failure> {
    let bad = |error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let text = std::fs::read(file).map_err(|error| bad(&error))?;
    let measurements = serde_json::from_slice(&text).map_err(|error| bad(&error))?;
    manifest.with_measurements(measurements).map_err(|error| bad(&error))
}

/// For people without what only programs read.
fn show(session: &Session, mut release: Value) -> Result<(), Failure> {
    if session.out == Format::Table
        && let Some(fields) = release.as_object_mut()
    {
        fields.retain(|key, _| !matches!(key.as_str(), "manifest" | "signature"));
    }
    session.out.one(&release)
}

fn described(part: &Part, measured: &Measured) -> Result<Artifact, Failure> {
    let filename = part.file.file_name().and_then(|name| name.to_str());
    let filename = filename.ok_or_else(|| Failure::usage(format!("{}: no file name", part.file.display())))?;
    Ok(Artifact {
        filename: filename.to_owned(),
        hardware: part.hardware.clone(),
        sha256: measured.sha256,
        size: measured.size,
    })
}

/// A release by `NAME@VERSION` or by its id.
pub(super) async fn find(session: &Session, release: &str) -> Result<Value, Failure> {
    let Some((name, version)) = release.split_once('@') else {
        return Ok(session.client.get(&session.path(&["releases", release]).await?).await?.value);
    };
    let path = session.path(&["releases"]).await? + &query(&[("name", Some(name))]);
    let rows = session.client.list(&path, usize::MAX).await?;
    match rows.into_iter().find(|row| row.get("version").and_then(Value::as_str) == Some(version)) {
        Some(found) => Ok(found),
        // Ask for it as if it were an id, for the server's own refusal and exit code.
        None => Ok(session.client.get(&session.path(&["releases", release]).await?).await?.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_names_its_hardware() {
        let part: Part = "dir/a=b.img=rev-b, rev-a".parse().expect("good");
        assert_eq!(part, Part { file: "dir/a=b.img".into(), hardware: vec!["rev-a".into(), "rev-b".into()] });
        for bad in ["a.img", "a.img=", "=rev-a", "a.img= ,"] {
            assert!(bad.parse::<Part>().is_err(), "{bad}");
        }
    }
}
