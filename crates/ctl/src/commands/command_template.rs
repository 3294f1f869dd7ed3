//! `wardctl command-template`

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 5] = [
    ("NAME", "/name"),
    ("TITLE", "/title"),
    ("TYPE", "/content_type"),
    ("DEPRECATED", "/deprecated"),
    ("CREATED", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum CommandTemplate {
    /// Write a command down
    Create(Create),
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Show {
        name: String,
    },
    /// Send it to a device
    Send {
        name: String,
        device: String,
        /// Chosen by you, so that sending it again is harmless
        #[arg(long)]
        id: Option<String>,
        /// How long it may wait for its device
        #[arg(long, value_parser = super::seconds)]
        ttl: Option<u64>,
        /// How long it may take from the device's first word to its end
        #[arg(long, value_parser = super::seconds)]
        run_timeout: Option<u64>,
    },
    /// Have nothing sent by it any more, or again something
    Deprecate {
        name: String,
        #[arg(long)]
        undo: bool,
    },
    /// Take it away; what was sent by it goes on
    #[command(visible_alias = "rm")]
    Remove {
        name: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What is to be done, in a word that devices know
    name: String,
    /// For people
    #[arg(long)]
    title: Option<String>,
    #[arg(long)]
    description: Option<String>,
    /// JSON for the device
    #[arg(long, conflicts_with = "file")]
    payload: Option<String>,
    /// A file of any bytes for the device
    #[arg(long)]
    file: Option<PathBuf>,
    /// The media type of the payload
    #[arg(long)]
    content_type: Option<String>,
}

impl Create {
    fn body(self) -> Result<Value, Failure> {
        let payload: Option<Value> = match self.payload {
            Some(text) => {
                Some(serde_json::from_str(&text).map_err(|error| Failure::usage(format!("--payload: {error}")))?)
            }
            None => None,
        };
        let file = self.file.map(|file| {
            std::fs::read(&file).map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))
        });
        Ok(super::object([
            ("name", Some(json!(self.name))),
            ("title", self.title.map(Value::from)),
            ("description", self.description.map(Value::from)),
            ("content_type", self.content_type.map(Value::from)),
            ("payload", payload),
            ("payload_base64", file.transpose()?.map(|bytes| json!(STANDARD.encode(bytes)))),
        ]))
    }
}

impl CommandTemplate {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Create(create) => {
                let path = session.path(&["command-templates"]).await?;
                session.out.one(&client.post(&path, &create.body()?).await?.value)
            }
            Self::List { limit } => {
                session.out.rows(&client.list(&session.path(&["command-templates"]).await?, limit).await?, &COLUMNS)
            }
            Self::Show { name } => {
                session.out.one(&client.get(&session.path(&["command-templates", &name]).await?).await?.value)
            }
            Self::Send { name, device, id, ttl, run_timeout } => {
                let body = super::object([
                    ("device", Some(json!(device))),
                    ("id", id.map(Value::from)),
                    ("ttl_s", ttl.map(Value::from)),
                    ("run_timeout_s", run_timeout.map(Value::from)),
                ]);
                let path = session.path(&["command-templates", &name, "send"]).await?;
                session.out.one(&client.post(&path, &body).await?.value)
            }
            Self::Deprecate { name, undo } => {
                let path = session.path(&["command-templates", &name]).await?;
                session.out.one(&client.patch(&path, "*", &json!({ "deprecated": !undo })).await?.value)
            }
            Self::Remove { name } => {
                client.delete(&session.path(&["command-templates", &name]).await?, Some("*")).await?;
                session.out.done(&format!("{name} removed"))
            }
        }
    }
}
