//! `wardctl ca`: authorities, and how one follows another.

mod ceremony;
mod root;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::Column;
use crate::session::Session;

const LAGGING: [Column; 1] = [("DEVICE", "/device")];

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Have another authority follow the present one, in stages that wait for the fleet
    #[command(subcommand)]
    Rotation(Rotation),
    /// A root that is kept offline
    #[command(subcommand)]
    Root(root::Root),
    /// What the server asks its offline root to sign
    Csr(ceremony::Csr),
    /// Sign what a server asks for, where the root is: no server is asked
    Sign(ceremony::Sign),
    /// Give the server what its offline root signed
    Import(ceremony::Import),
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
        /// The certificate of a root that is kept offline and is to follow
        #[arg(long, value_name = "FILE", requires = "root")]
        root_certificate: Option<PathBuf>,
    },
    /// Show how far it is and who lags
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Devices of the tenant that do not hold the new root yet
    Lagging {
        /// How many at most
        #[arg(long, default_value_t = 1000)]
        limit: usize,
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
            Self::Rotation(verb) => verb.run(session).await,
            Self::Root(verb) => verb.run(session).await,
            Self::Csr(csr) => csr.run(session).await,
            Self::Sign(sign) => sign.run(session).await,
            Self::Import(import) => import.run(session).await,
        }
    }
}

impl Rotation {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = &session.client;
        let shown = match self {
            Self::Start { which, threshold, publish, settle, issuing_key, root_certificate } => {
                let root = root_certificate.as_deref().map(root::small_file).transpose()?;
                let body = super::object([
                    ("threshold_percent", threshold.map(|percent| json!(percent))),
                    ("publish_seconds", publish.map(|seconds| json!(seconds))),
                    ("settle_seconds", settle.map(|seconds| json!(seconds))),
                    ("issuing_key", issuing_key.map(|uri| json!(uri))),
                    ("root_certificate", root.map(|pem| json!(pem))),
                ]);
                client.post(&which.path(session).await?, &body).await?.value
            }
            Self::Lagging { limit } => {
                let path = session.path(&["ca-rotation", "lagging"]).await?;
                return session.out.rows(&client.list(&path, limit).await?, &LAGGING);
            }
            Self::Show { which } => client.get(&which.path(session).await?).await?.value,
            Self::Advance { which, force } => step(session, &which, "advance", &json!({ "force": force })).await?,
            Self::Cancel { which } => step(session, &which, "cancel", &json!({})).await?,
        };
        session.out.one(&shown)
    }
}

/// A step at the revision that is there now.
async fn step(session: &Session, which: &Which, verb: &str, body: &Value) -> Result<Value, Failure> {
    let path = which.path(session).await?;
    let etag = session.client.get(&path).await?.etag.unwrap_or_default();
    Ok(session.client.post_at(&format!("{path}/{verb}"), &etag, body).await?.value)
}
