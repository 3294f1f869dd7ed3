//! `wardctl scep-challenge`

use clap::Subcommand;
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Format};
use crate::session::Session;

use super::enroll_token::COLUMNS;

#[derive(Debug, Subcommand)]
pub(crate) enum ScepChallenge {
    /// Make a challenge with which one device enrols by SCEP, once
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
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    Revoke {
        id: String,
    },
}

impl ScepChallenge {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create { device, ttl, class, hardware } => {
                let body = super::object([
                    ("device", Some(json!(device))),
                    ("ttl_s", ttl.map(|ttl| json!(ttl))),
                    ("class", class.map(|class| json!(class))),
                    ("hardware", hardware.map(|hardware| json!(hardware))),
                ]);
                let answer = session.client.post(&session.path(&["scep-challenges"]).await?, &body).await?.value;
                if session.out == Format::Json {
                    return output::json(&answer);
                }
                let text = |key: &str| output::cell(answer.get(key));
                output::note(&format!("For device {device}, once, until {}. Shown only now:", text("expires_at")));
                output::line(&text("challenge"))
            }
            Self::List { limit } => {
                let path = session.path(&["scep-challenges"]).await?;
                session.out.rows(&session.client.list(&path, limit).await?, &COLUMNS)
            }
            Self::Revoke { id } => {
                session.client.delete(&session.path(&["scep-challenges", &id]).await?, Some("*")).await?;
                session.out.done(&format!("{id} revoked"))
            }
        }
    }
}
