//! `wardctl factory-ca`: authorities of factories, and what they made that waits to be let in.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};

const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("NAME", "/name"),
    ("MODE", "/mode"),
    ("TEMPLATE", "/template"),
    ("STATUS", "/status"),
    ("UNTIL", "/not_after"),
];
const DEVICES: [Column; 7] = [
    ("ID", "/id"),
    ("NAME", "/name"),
    ("SERIAL", "/serial_number"),
    ("STATUS", "/status"),
    ("DEVICE", "/device"),
    ("SEEN", "/first_seen_at"),
    ("ADDRESS", "/address"),
];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// In on the first connection
    Provision,
    /// Waits for an operator, or for a claim code
    Register,
}

impl Mode {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Register => "register",
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum FactoryCa {
    /// Get the code that the authority has to sign: the common name of a certificate of its making
    Code,
    /// Register an authority whose key signed the code
    Register {
        /// Its certificate in PEM
        certificate: PathBuf,
        /// The certificate with the code as its common name, in PEM
        #[arg(long)]
        verification: PathBuf,
        /// What people call it
        #[arg(long)]
        name: String,
        #[arg(long, value_enum, default_value = "provision")]
        mode: Mode,
        /// By which records are made; without one a device has its common name and nothing else
        #[arg(long)]
        template: Option<String>,
    },
    #[command(visible_alias = "ls")]
    List,
    Show {
        id: String,
    },
    /// Change what happens to its devices
    Set {
        id: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long, value_enum)]
        mode: Option<Mode>,
        #[arg(long)]
        template: Option<String>,
        /// Whether anybody new is let in
        #[arg(long)]
        enabled: Option<bool>,
    },
    /// Let nothing in that it issued, devices in use included
    Revoke {
        id: String,
    },
    /// Devices of factories that came to a door
    Devices {
        /// Only those that wait
        #[arg(long)]
        waiting: bool,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Let a device in that waits
    Activate {
        /// As `devices` shows it
        id: String,
    },
}

impl FactoryCa {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Code => {
                let code = client.post(&session.path(&["registration-codes"]).await?, &json!({})).await?.value;
                if session.out == Format::Json {
                    return output::json(&code);
                }
                output::note(&format!(
                    "Until {}. Sign a certificate with this common name:",
                    output::cell(code.get("expires_at"))
                ));
                output::line(&output::cell(code.get("code")))
            }
            Self::Register { certificate, verification, name, mode, template } => {
                let body = super::object([
                    ("name", Some(json!(name))),
                    ("certificate", Some(json!(super::text_file(&certificate)?))),
                    ("verification", Some(json!(super::text_file(&verification)?))),
                    ("mode", Some(json!(mode.as_str()))),
                    ("template", template.map(|template| json!(template))),
                ]);
                one(session, &client.post(&session.path(&["factories"]).await?, &body).await?.value)
            }
            Self::List => {
                let path = session.path(&["factories"]).await?;
                session.out.rows(&client.list(&path, usize::MAX).await?, &COLUMNS)
            }
            Self::Show { id } => session.out.one(&client.get(&session.path(&["factories", &id]).await?).await?.value),
            Self::Set { id, name, mode, template, enabled } => {
                let body = super::object([
                    ("name", name.map(|name| json!(name))),
                    ("mode", mode.map(|mode| json!(mode.as_str()))),
                    ("template", template.map(|template| json!(template))),
                    ("enabled", enabled.map(|enabled| json!(enabled))),
                ]);
                let path = session.path(&["factories", &id]).await?;
                let etag = client.get(&path).await?.etag.unwrap_or_default();
                one(session, &client.patch(&path, &etag, &body).await?.value)
            }
            Self::Revoke { id } => {
                client.delete(&session.path(&["factories", &id]).await?, Some("*")).await?;
                session.out.done(&format!("{id} revoked"))
            }
            Self::Devices { waiting, limit } => {
                let path = session.path(&["factory-certificates"]).await?;
                let path = path + &query(&[("waiting", waiting.then_some("true"))]);
                session.out.rows(&client.list(&path, limit).await?, &DEVICES)
            }
            Self::Activate { id } => {
                let path = session.path(&["factory-certificates", &id, "activate"]).await?;
                session.out.one(&client.post(&path, &json!({})).await?.value)
            }
        }
    }
}

/// The authority without its certificate, which whoever registers it has.
fn one(session: &Session, factory: &Value) -> Result<(), Failure> {
    let mut shown = factory.clone();
    if session.out != Format::Json
        && let Some(fields) = shown.as_object_mut()
    {
        fields.remove("certificate_pem");
    }
    session.out.one(&shown)
}
