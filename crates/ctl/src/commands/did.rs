//! `wardctl device did`

use clap::Subcommand;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const COLUMNS: [Column; 4] = [("DID", "/did"), ("KEY", "/key_id"), ("SINCE", "/added_at"), ("BY", "/added_by")];

#[derive(Debug, Subcommand)]
pub(crate) enum Did {
    /// What the holder of an identifier is to sign
    Challenge {
        device: String,
        did: String,
    },
    /// Add an identifier, proved by the challenge that its key has signed
    Add {
        device: String,
        /// did:key or did:web
        did: String,
        /// A compact JWS (ES256, ES384, EdDSA) over {"iss": DID, "aud": audience, "nonce": nonce}
        #[arg(long)]
        proof: String,
    },
    #[command(visible_alias = "ls")]
    List {
        device: String,
    },
    Remove {
        device: String,
        did: String,
    },
}

impl Did {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        match self {
            Self::Challenge { device, did } => {
                let path = session.path(&["devices", &device, "did-challenges"]).await?;
                session.out.one(&client.post(&path, &json!({ "did": did })).await?.value)
            }
            Self::Add { device, did, proof } => {
                let path = session.path(&["devices", &device, "dids"]).await?;
                session.out.one(&client.post(&path, &json!({ "did": did, "proof": proof })).await?.value)
            }
            Self::List { device } => {
                let answer = client.get(&session.path(&["devices", &device, "dids"]).await?).await?.value;
                let rows = answer.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
                session.out.rows(&rows, &COLUMNS)
            }
            Self::Remove { device, did } => {
                client.delete(&session.path(&["devices", &device, "dids", &did]).await?, Some("*")).await?;
                session.out.done(&format!("{did} removed"))
            }
        }
    }
}
