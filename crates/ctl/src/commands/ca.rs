//! `wardctl ca`: authorities, and how one follows another.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Have another authority follow the present one, in stages that wait for the fleet
    #[command(subcommand)]
    Rotation(Rotation),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rotation {
    /// Make the new authority and show it; it does not sign yet
    Start {
        #[command(flatten)]
        which: Which,
        /// How many of the active devices must hold the new anchor, in percent (root: 99.5)
        #[arg(long)]
        threshold: Option<f64>,
        /// How long it is shown at least before it signs: 60s, 24h, 7d
        #[arg(long, value_parser = super::seconds)]
        publish: Option<u64>,
        /// How long it signs at least before the old one is retired
        #[arg(long, value_parser = super::seconds)]
        settle: Option<u64>,
        /// An RFC 7512 URI of the key to be made in the server's token
        #[arg(long, conflicts_with = "root")]
        issuing_key: Option<String>,
    },
    /// Show how far it is and who lags
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Take the next step now
    Advance {
        #[command(flatten)]
        which: Which,
        /// Although something is missing
        #[arg(long)]
        force: bool,
    },
    /// Call it off, before the new authority signs
    Cancel {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The installation's root, and not the issuing authority of the tenant
    #[arg(long)]
    root: bool,
}

impl Which {
    async fn path(&self, session: &Session) -> Result<String, Failure> {
        if self.root { Ok("/v1/ca-rotation".to_owned()) } else { session.path(&["ca-rotation"]).await }
    }
}

impl Ca {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Rotation(verb) => session.out.one(&verb.run(session).await?),
        }
    }
}

impl Rotation {
    async fn run(self, session: &Session) -> Result<Value, Failure> {
        let client = &session.client;
        match self {
            Self::Start { which, threshold, publish, settle, issuing_key } => {
                let body = super::object([
                    ("threshold_percent", threshold.map(|percent| json!(percent))),
                    ("publish_seconds", publish.map(|seconds| json!(seconds))),
                    ("settle_seconds", settle.map(|seconds| json!(seconds))),
                    ("issuing_key", issuing_key.map(|uri| json!(uri))),
                ]);
                Ok(client.post(&which.path(session).await?, &body).await?.value)
            }
            Self::Show { which } => Ok(client.get(&which.path(session).await?).await?.value),
            Self::Advance { which, force } => step(session, &which, "advance", &json!({ "force": force })).await,
            Self::Cancel { which } => step(session, &which, "cancel", &json!({})).await,
        }
    }
}

/// A step at the revision that is there now.
async fn step(session: &Session, which: &Which, verb: &str, body: &Value) -> Result<Value, Failure> {
    let path = which.path(session).await?;
    let etag = session.client.get(&path).await?.etag.unwrap_or_default();
    Ok(session.client.post_at(&format!("{path}/{verb}"), &etag, body).await?.value)
}
