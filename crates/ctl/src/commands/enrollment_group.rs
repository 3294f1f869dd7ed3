//! `wardctl enrollment-group`

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::Session;

const COLUMNS: [Column; 6] = [
    ("NAME", "/name"),
    ("CLASS", "/class"),
    ("HARDWARE", "/hardware"),
    ("CREATED", "/created_at"),
    ("ROTATED", "/rotated_at"),
    ("REVOKED", "/revoked_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum EnrollmentGroup {
    /// Make the keys of a group, from which each device's key is derived; they are shown this once
    Create {
        #[command(flatten)]
        holder: Holder,
        /// sensor, gateway or endpoint
        #[arg(long)]
        class: Option<String>,
        /// Hardware revision
        #[arg(long)]
        hardware: Option<String>,
        /// JSON that each device is given when it registers by Azure's messages
        #[arg(long, value_parser = json_value)]
        payload: Option<Value>,
    },
    #[command(visible_alias = "ls")]
    List {
        /// Those of single devices instead
        #[arg(long)]
        individual: bool,
    },
    Show {
        #[command(flatten)]
        holder: Holder,
    },
    /// Make another primary key; what was the primary becomes the secondary
    RotateKey {
        #[command(flatten)]
        holder: Holder,
    },
    /// Nobody enrols with these keys any more; devices that did stay
    Revoke {
        #[command(flatten)]
        holder: Holder,
    },
    /// By which name devices without a credential address the tenant (DPS: ID scope)
    IdScope,
}

#[derive(Debug, Args)]
pub(crate) struct Holder {
    /// Of the group, or of the device
    name: String,
    /// The keys are of this device alone, and are not derived
    #[arg(long)]
    individual: bool,
}

impl Holder {
    fn kind(&self) -> &'static str {
        kind(self.individual)
    }

    async fn path(&self, session: &Session) -> Result<String, Failure> {
        session.path(&["enrollment-keys", self.kind(), &self.name]).await
    }
}

const fn kind(individual: bool) -> &'static str {
    if individual { "individual" } else { "group" }
}

fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl EnrollmentGroup {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Create { holder, class, hardware, payload } => {
                let body = super::object([
                    ("name", Some(json!(holder.name))),
                    ("class", class.map(|class| json!(class))),
                    ("hardware", hardware.map(|hardware| json!(hardware))),
                    ("payload", payload),
                ]);
                let path = session.path(&["enrollment-keys", holder.kind()]).await?;
                show(session, &client.post(&path, &body).await?.value)
            }
            Self::List { individual } => {
                let path = session.path(&["enrollment-keys", kind(individual)]).await?;
                session.out.rows(&client.list(&path, usize::MAX).await?, &COLUMNS)
            }
            Self::Show { holder } => session.out.one(&client.get(&holder.path(session).await?).await?.value),
            Self::RotateKey { holder } => {
                let path = holder.path(session).await? + "/rotate";
                show(session, &client.post(&path, &json!({})).await?.value)
            }
            Self::Revoke { holder } => {
                client.delete(&holder.path(session).await?, Some("*")).await?;
                session.out.done(&format!("{} revoked", holder.name))
            }
            Self::IdScope => {
                let answer = client.get(&session.path(&["id-scope"]).await?).await?.value;
                match session.out {
                    Format::Json => output::json(&answer),
                    Format::Table => output::line(&output::cell(answer.get("id_scope"))),
                }
            }
        }
    }
}

fn show(session: &Session, keys: &Value) -> Result<(), Failure> {
    if session.out == Format::Table {
        output::note("Shown only now:");
    }
    session.out.one(keys)
}
