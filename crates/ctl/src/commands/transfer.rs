//! `wardctl transfer`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Column, Format};
use crate::session::Session;

const COLUMNS: [Column; 7] = [
    ("ID", "/id"),
    ("DEVICE", "/device"),
    ("TO", "/to_tenant"),
    ("STATE", "/state"),
    ("WIPED", "/wiped"),
    ("EXPIRES", "/expires_at"),
    ("BY", "/created_by"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Transfer {
    /// Offer a device to another tenant, which accepts with the code that is printed
    Offer {
        device: String,
        /// The tenant that may accept
        #[arg(long)]
        to: String,
        /// How long the offer stands: seconds, or with s, m, h or d
        #[arg(long, value_parser = super::seconds)]
        ttl: Option<u64>,
    },
    /// What was offered to others
    #[command(visible_alias = "ls")]
    List {
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// Take an offer back, or call a transfer off whose device is still waited for
    Cancel { id: String },
    /// Let a device go that has not said that it has wiped itself
    Complete { id: String },
    /// Take over a device; its enrolment token is printed
    Accept {
        /// The code that the other tenant gave you; better in the environment
        #[arg(env = "FLEETWARD_TRANSFER_CODE", hide_env_values = true)]
        code: String,
        /// What it is called here, where that is not its name there
        #[arg(long)]
        name: Option<String>,
    },
}

impl Transfer {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Offer { device, to, ttl } => {
                let body = super::object([
                    ("device", Some(json!(device))),
                    ("to_tenant", Some(json!(to))),
                    ("ttl_s", ttl.map(|ttl| json!(ttl))),
                ]);
                let answer = session.client.post(&session.path(&["transfers"]).await?, &body).await?.value;
                if session.out == Format::Json {
                    return output::json(&answer);
                }
                let text = |key: &str| output::cell(answer.get(key));
                output::note(&format!("{device} for {to}, once, until {}. Shown only now:", text("expires_at")));
                output::line(&text("code"))
            }
            Self::List { limit } => {
                let path = session.path(&["transfers"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Cancel { id } => {
                session.client.delete(&session.path(&["transfers", &id]).await?, Some("*")).await?;
                session.out.done(&format!("{id} canceled"))
            }
            Self::Complete { id } => {
                let path = session.path(&["transfers", &id, "complete"]).await?;
                session.client.post(&path, &json!({})).await?;
                session.out.done(&format!("{id} completed"))
            }
            Self::Accept { code, name } => {
                let body = super::object([("code", Some(json!(code))), ("name", name.map(|name| json!(name)))]);
                let answer = session.client.post(&session.path(&["transfers", "accept"]).await?, &body).await?.value;
                if session.out == Format::Json {
                    return output::json(&answer);
                }
                let text = |pointer: &str| output::cell(answer.pointer(pointer));
                output::note(&format!(
                    "{} is from {} and enrols with this token, once, until {}. Shown only now:",
                    text("/device"),
                    text("/from_tenant"),
                    text("/enroll_token/expires_at")
                ));
                if answer.get("waits_until").is_some_and(|until| !until.is_null()) {
                    output::note(&format!(
                        "It is told to wipe itself and comes by itself; the giver waits for it until {}.",
                        text("/waits_until")
                    ));
                }
                output::line(&text("/enroll_token/token"))
            }
        }
    }
}
