//! `wardctl attestation`: how devices stand, what vouches for their evidence, and what is good.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Column};
use crate::session::Session;

const ANCHORS: [Column; 5] = [
    ("KIND", "/kind"),
    ("NAME", "/name"),
    ("ROOT OF TRUST", "/root_of_trust"),
    ("CREATED", "/created_at"),
    ("ID", "/id"),
];
const REFERENCES: [Column; 6] = [
    ("HARDWARE", "/hardware"),
    ("FIRMWARE", "/firmware"),
    ("STATE", "/state"),
    ("LEARN", "/learn"),
    ("TEACHERS", "/teachers"),
    ("ID", "/id"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Attestation {
    /// How a device stands: verdict, reasons, what it measured
    Show { device: String },
    /// What the tenant asks of whom; change it with `tenant policy set attestation.FIELD=VALUE`
    Policy,
    /// What vouches for evidence
    #[command(subcommand)]
    Anchor(Anchor),
    /// What is good, those of releases aside
    #[command(subcommand)]
    Reference(Reference),
    /// Let the first devices of a cohort say what is good
    Learn(Learn),
    /// End the learning of a cohort: what was taught is what is good
    Lock {
        /// As `reference list` shows it
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Anchor {
    /// Believe evidence that this vouches for
    Add(Add),
    #[command(visible_alias = "ls")]
    List,
    /// Believe nothing more on its word
    Remove { id: String },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// tpm-root, endorsement-key, token-key or dice-root
    kind: String,
    /// A PEM file; of an endorsement key the SHA-256 of its public key in hex
    value: String,
    /// What people call it
    #[arg(long)]
    name: String,
    /// What stands on it: none, software, tee, tpm2 or secure-element
    #[arg(long)]
    root_of_trust: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Reference {
    #[command(visible_alias = "ls")]
    List,
    Show {
        id: String,
    },
    /// Say what is good for a cohort
    Set {
        #[arg(long)]
        hardware: String,
        /// * for any
        #[arg(long, default_value = "*")]
        firmware: String,
        /// JSON file: {"pcr/7": ["HEX"], "event/4": ["HEX", "HEX"]}
        file: PathBuf,
    },
    Remove {
        id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Learn {
    #[arg(long)]
    hardware: String,
    /// * for any
    #[arg(long, default_value = "*")]
    firmware: String,
    /// How many devices teach before it is locked
    #[arg(long, default_value_t = 1)]
    devices: u32,
}

impl Attestation {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Show { device } => {
                let path = session.path(&["devices", &device, "attestation"]).await?;
                session.out.one(&client.get(&path).await?.value)
            }
            Self::Policy => {
                let policy = client.get(&session.path(&["identity-policy"]).await?).await?.value;
                output::json(policy.get("attestation").unwrap_or(&Value::Null))
            }
            Self::Anchor(verb) => verb.run(session).await,
            Self::Reference(verb) => verb.run(session).await,
            Self::Learn(Learn { hardware, firmware, devices }) => {
                let body = json!({ "hardware": hardware, "firmware": firmware, "learn": devices });
                session.out.one(&client.post(&session.path(&["attestation-references"]).await?, &body).await?.value)
            }
            Self::Lock { id } => {
                let path = session.path(&["attestation-references", &id, "lock"]).await?;
                session.out.one(&client.post(&path, &json!({})).await?.value)
            }
        }
    }
}

impl Anchor {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let path = session.path(&["attestation-anchors"]).await?;
        match self {
            Self::Add(add) => session.out.one(&session.client.post(&path, &add.body()?).await?.value),
            Self::List => session.out.rows(&session.client.list(&path, usize::MAX).await?, &ANCHORS),
            Self::Remove { id } => {
                session.client.delete(&session.path(&["attestation-anchors", &id]).await?, None).await?;
                session.out.done(&format!("{id} removed"))
            }
        }
    }
}

impl Add {
    fn body(self) -> Result<Value, Failure> {
        let field = match self.kind.as_str() {
            "tpm-root" | "dice-root" => "certificate",
            "token-key" => "public_key",
            "endorsement-key" => "sha256",
            other => {
                let kinds = "tpm-root, endorsement-key, token-key or dice-root";
                return Err(Failure::usage(format!("{other:?}: {kinds}")));
            }
        };
        let value = if field == "sha256" { self.value.to_ascii_lowercase() } else { read(&self.value.into())? };
        let root = self.root_of_trust.map(Value::from);
        let mut body = super::object([
            ("kind", Some(self.kind.into())),
            ("name", Some(self.name.into())),
            ("root_of_trust", root),
        ]);
        super::put(&mut body, field, value.into());
        Ok(body)
    }
}

impl Reference {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::List => {
                let path = session.path(&["attestation-references"]).await?;
                session.out.rows(&client.list(&path, usize::MAX).await?, &REFERENCES)
            }
            Self::Show { id } => {
                session.out.one(&client.get(&session.path(&["attestation-references", &id]).await?).await?.value)
            }
            Self::Set { hardware, firmware, file } => {
                let measurements: Value = serde_json::from_str(&read(&file)?)
                    .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
                let body = json!({ "hardware": hardware, "firmware": firmware, "measurements": measurements });
                session.out.one(&client.post(&session.path(&["attestation-references"]).await?, &body).await?.value)
            }
            Self::Remove { id } => {
                client.delete(&session.path(&["attestation-references", &id]).await?, None).await?;
                session.out.done(&format!("{id} removed"))
            }
        }
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
}
