//! `wardctl certificate`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Column;
use crate::session::{Session, query};

const COLUMNS: [Column; 5] =
    [("ID", "/id"), ("SERIAL", "/serial"), ("STATE", "/state"), ("DEVICE", "/device"), ("NOT AFTER", "/not_after")];

#[derive(Debug, Subcommand)]
pub(crate) enum Certificate {
    /// Make a certificate for a device that is chosen later
    Create {
        /// A request in PEM; without one the key is made by the server, where the tenant's policy allows that
        #[arg(long, value_name = "FILE")]
        csr: Option<PathBuf>,
        /// It counts as soon as it has its device
        #[arg(long)]
        active: bool,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Show {
        id: String,
    },
    /// Have it count
    Activate {
        id: String,
    },
    /// Have it count no more, until it is activated
    Deactivate {
        id: String,
    },
    /// End it for good
    Revoke {
        id: String,
    },
    /// Give it to a device, for good
    Attach {
        id: String,
        device: String,
    },
    /// Take it from its device; it goes back to the same one only
    Detach {
        id: String,
        device: String,
    },
    /// Revoke one that does not count, and show it no more
    #[command(visible_alias = "rm")]
    Remove {
        id: String,
        /// Also one that is a device's
        #[arg(long)]
        force: bool,
    },
}

impl Certificate {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Create { csr, active } => {
                let csr = csr.as_deref().map(super::text_file).transpose()?;
                let body = super::object([("csr", csr.map(|text| json!(text))), ("active", Some(json!(active)))]);
                session.out.one(&client.post(&session.path(&["certificates"]).await?, &body).await?.value)
            }
            Self::List { limit } => {
                session.out.rows(&client.list(&session.path(&["certificates"]).await?, limit).await?, &COLUMNS)
            }
            Self::Show { id } => {
                session.out.one(&client.get(&session.path(&["certificates", &id]).await?).await?.value)
            }
            Self::Activate { id } => set_state(session, &id, "active").await,
            Self::Deactivate { id } => set_state(session, &id, "inactive").await,
            Self::Revoke { id } => set_state(session, &id, "revoked").await,
            Self::Attach { id, device } => {
                let path = session.path(&["certificates", &id, "device", &device]).await?;
                client.put(&path, "*", &json!({})).await?;
                session.out.done(&format!("it is {device}'s"))
            }
            Self::Detach { id, device } => {
                let path = session.path(&["certificates", &id, "device", &device]).await?;
                client.delete(&path, None).await?;
                session.out.done(&format!("{device} comes in with it no more"))
            }
            Self::Remove { id, force } => {
                let path = session.path(&["certificates", &id]).await? + &query(&[("force", force.then_some("true"))]);
                client.delete(&path, None).await?;
                session.out.done("revoked and removed")
            }
        }
    }
}

async fn set_state(session: &Session, id: &str, state: &str) -> Result<(), Failure> {
    let path = session.path(&["certificates", id, "state"]).await?;
    session.out.one(&session.client.post(&path, &json!({ "state": state })).await?.value)
}
