//! `wardctl enrollment`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::Column;
use crate::session::{Session, query};

const COLUMNS: [Column; 7] = [
    ("CODE", "/user_code"),
    ("DEVICE", "/device"),
    ("STATE", "/state"),
    ("WAY", "/way"),
    ("ADDRESS", "/address"),
    ("KEY", "/key_fingerprint"),
    ("SINCE", "/created_at"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Enrollment {
    /// Devices that wait until somebody lets them in
    #[command(visible_alias = "ls")]
    List {
        /// pending, approved, denied or used
        #[arg(long)]
        state: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Show {
        /// The code that the device shows, such as WDJB-MJHT, or the request's id
        request: String,
    },
    /// Let a device in; compare the fingerprint of its key first
    Approve {
        /// The code that the device shows, such as WDJB-MJHT, or the request's id
        request: String,
        /// For the history
        #[arg(long)]
        note: Option<String>,
    },
    /// Keep a device out
    Deny {
        /// The code that the device shows, such as WDJB-MJHT, or the request's id
        request: String,
        /// For the history
        #[arg(long)]
        note: Option<String>,
    },
}

impl Enrollment {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List { state, limit } => {
                let path = session.path(&["enrollment-requests"]).await? + &query(&[("state", state.as_deref())]);
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Show { request } => {
                let path = session.path(&["enrollment-requests", &request]).await?;
                session.out.one(&session.client.get(&path).await?.value)
            }
            Self::Approve { request, note } => decide(session, &request, "approve", note).await,
            Self::Deny { request, note } => decide(session, &request, "deny", note).await,
        }
    }
}

async fn decide(session: &Session, request: &str, decision: &str, note: Option<String>) -> Result<(), Failure> {
    let path = session.path(&["enrollment-requests", request, "decision"]).await?;
    let body = super::object([("decision", Some(json!(decision))), ("note", note.map(|note| json!(note)))]);
    session.out.one(&session.client.post(&path, &body).await?.value)
}
