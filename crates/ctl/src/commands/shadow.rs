//! `wardctl shadow`

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Shadow {
    /// Print the whole document
    Get { device: String },
    /// Merge into the desired state; null takes a key out
    Set {
        device: String,
        /// JSON, or `-` to read it from standard input
        desired: String,
        /// Only if the document is at this version
        #[arg(long)]
        version: Option<u64>,
    },
    /// Delete the document; its version goes on counting
    Delete { device: String },
}

impl Shadow {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        // A document is JSON for people too.
        match self {
            Self::Get { device } => output::json(&client.get(&path(session, &device).await?).await?.value),
            Self::Set { device, desired, version } => {
                let desired = read(&desired)?;
                let mut body = json!({ "state": { "desired": desired } });
                if let Some(version) = version {
                    super::put(&mut body, "version", json!(version));
                }
                output::json(&client.post(&path(session, &device).await?, &body).await?.value)
            }
            Self::Delete { device } => {
                output::json(&client.delete(&path(session, &device).await?, Some("*")).await?.value)
            }
        }
    }
}

async fn path(session: &Session, device: &str) -> Result<String, Failure> {
    session.path(&["devices", device, "shadow"]).await
}

fn read(text: &str) -> Result<Value, Failure> {
    let text = match text {
        "-" => std::io::read_to_string(std::io::stdin())?,
        text => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::usage(format!("the desired state is not JSON: {error}")))
}
