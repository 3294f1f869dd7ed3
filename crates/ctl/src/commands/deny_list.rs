//! `wardctl deny-list`

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 5] =
    [("KIND", "/kind"), ("VALUE", "/value"), ("REASON", "/reason"), ("BY", "/created_by"), ("CREATED", "/created_at")];

#[derive(Debug, Subcommand)]
pub(crate) enum DenyList {
    #[command(visible_alias = "ls")]
    List,
    /// Refuse a serial number, a key (SHA-256 of its SubjectPublicKeyInfo) or a piece of hardware from now on
    Add {
        /// serial, key or hardware
        kind: String,
        value: String,
        #[arg(long)]
        reason: Option<String>,
    },
    /// Refuse it no longer
    Remove { kind: String, value: String },
}

impl DenyList {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List => {
                let path = session.path(&["deny-list"]).await?;
                session.out.rows(&session.client.list(&path, usize::MAX).await?, &COLUMNS)
            }
            Self::Add { kind, value, reason } => {
                let body = super::object([
                    ("kind", Some(json!(kind))),
                    ("value", Some(json!(value))),
                    ("reason", reason.map(Value::from)),
                ]);
                session.out.one(&session.client.post(&session.path(&["deny-list"]).await?, &body).await?.value)
            }
            Self::Remove { kind, value } => {
                session.client.delete(&session.path(&["deny-list", &kind, &value]).await?, None).await?;
                session.out.done(&format!("{kind} {value} is refused no longer"))
            }
        }
    }
}
