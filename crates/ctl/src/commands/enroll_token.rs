//! `wardctl enroll-token`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::{Session, query};

pub(super) const COLUMNS: [Column; 6] = [
    ("ID", "/id"),
    ("DEVICE", "/device"),
    ("STATE", "/state"),
    ("ATTEMPTS", "/attempts"),
    ("EXPIRES", "/expires_at"),
    ("BY", "/created_by"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum EnrollToken {
    /// Make a token with which one device enrols once
    Create {
        /// The device's name; it is registered if it is not known yet
        device: String,
        /// How long it holds: seconds, or with s, m, h or d
        #[arg(long, value_parser = super::seconds)]
        ttl: Option<u64>,
        /// sensor, gateway or endpoint, for a device that is not known yet
        #[arg(long)]
        class: Option<String>,
        /// Hardware revision, for a device that is not known yet
        #[arg(long)]
        hardware: Option<String>,
    },
    #[command(visible_alias = "ls")]
    List {
        #[arg(long)]
        device: Option<String>,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Revoke {
        id: String,
    },
}

impl EnrollToken {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { device, ttl, class, hardware } => {
                let body = super::object([
                    ("device", Some(json!(device))),
                    ("ttl_s", ttl.map(|ttl| json!(ttl))),
                    ("class", class.map(|class| json!(class))),
                    ("hardware", hardware.map(|hardware| json!(hardware))),
                ]);
                let answer = session.client.post(&session.path(&["enroll-tokens"]).await?, &body).await?.value;
                if session.out == Format::Json {
                    return output::json(&answer);
                }
                let text = |key: &str| output::cell(answer.get(key));
                output::note(&format!("For device {device}, once, until {}. Shown only now:", text("expires_at")));
                output::line(&text("token"))
            }
            Self::List { device, limit } => {
                let path = session.path(&["enroll-tokens"]).await? + &query(&[("device", device.as_deref())]);
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Revoke { id } => {
                session.client.delete(&session.path(&["enroll-tokens", &id]).await?, Some("*")).await?;
                session.out.done(&format!("{id} revoked"))
            }
        }
    }
}
