//! `wardctl transparency`: the log of certificates, checked on this machine and not on the server's word.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Subcommand;
use fleetward_pki::checkpoint::{Checkpoint, LogVerifier};
use fleetward_pki::merkle::{Hash, check_consistency, check_inclusion, leaf};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::session::{Session, query};

#[derive(Debug, Subcommand)]
pub(crate) enum Transparency {
    /// The head of the log as the server shows it
    Show,
    /// Check the head's signature, and that the log continues the checkpoint that was kept
    Verify {
        /// The checkpoint of last time; written anew when all holds
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The log's verifier key, from elsewhere than this server; without it the key that the server shows is believed
        #[arg(long)]
        key: Option<String>,
    },
    /// Check that a certificate is in the log, by its serial number
    Prove {
        serial: String,
        #[arg(long)]
        key: Option<String>,
    },
}

impl Transparency {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Show => session.out.one(&session.client.get(&session.path(&["transparency"]).await?).await?.value),
            Self::Verify { checkpoint, key } => verify(session, checkpoint.as_deref(), key.as_deref()).await,
            Self::Prove { serial, key } => prove(session, &serial.to_lowercase(), key.as_deref()).await,
        }
    }
}

fn broken(what: impl Into<String>) -> Failure {
    Failure::other(what)
}

fn text<'a>(value: &'a Value, at: &str) -> Result<&'a str, Failure> {
    value.pointer(at).and_then(Value::as_str).ok_or_else(|| broken(format!("the answer has no {at}")))
}

fn hash(text: &str) -> Result<Hash, Failure> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| broken("a hash is not base64"))?;
    Hash::try_from(bytes.as_slice()).map_err(|_| broken("a hash has not 32 bytes"))
}

fn hashes(value: &Value) -> Result<Vec<Hash>, Failure> {
    let list = value.get("proof").and_then(Value::as_array).ok_or_else(|| broken("the answer has no proof"))?;
    list.iter().map(|text| hash(text.as_str().unwrap_or_default())).collect()
}

/// The checkpoint in a head, signed by the key.
fn opened(head: &Value, key: Option<&str>) -> Result<(Checkpoint, LogVerifier), Failure> {
    let key = match key {
        Some(key) => key,
        None => text(head, "/key")?,
    };
    let verifier: LogVerifier = key.parse().map_err(|_| Failure::usage("that is no verifier key"))?;
    let checkpoint = verifier.open(text(head, "/checkpoint")?).map_err(|error| broken(error.to_string()))?;
    Ok((checkpoint, verifier))
}

async fn verify(session: &Session, kept: Option<&Path>, key: Option<&str>) -> Result<(), Failure> {
    let head = session.client.get(&session.path(&["transparency"]).await?).await?.value;
    let (now, verifier) = opened(&head, key)?;
    let before = match kept.map(std::fs::read_to_string) {
        None => None,
        Some(Ok(note)) => Some(verifier.open(&note).map_err(|error| broken(format!("the kept checkpoint: {error}")))?),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
        Some(Err(error)) => return Err(Failure::usage(format!("the kept checkpoint: {error}"))),
    };
    if let Some(before) = &before {
        let (from, to) = (before.size.to_string(), now.size.to_string());
        let path = session.path(&["transparency", "consistency"]).await?;
        let path = path + &query(&[("from", Some(from.as_str())), ("to", Some(to.as_str()))]);
        let proof = hashes(&session.client.get(&path).await?.value)?;
        check_consistency(before.size, &before.root, now.size, &now.root, &proof)
            .map_err(|_| broken("the log does not continue the kept checkpoint: it was rewritten"))?;
    }
    if let Some(path) = kept {
        let saved = std::fs::write(path, text(&head, "/checkpoint")?);
        saved.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    }
    session.out.one(&json!({
        "origin": now.origin,
        "size": now.size,
        "root": BASE64_STANDARD.encode(now.root),
        "continues": before.map(|before| before.size),
        "key": verifier.to_string(),
    }))
}

async fn prove(session: &Session, serial: &str, key: Option<&str>) -> Result<(), Failure> {
    let path = session.path(&["transparency", "certificates", serial]).await?;
    let found = session.client.get(&path).await?.value;
    let head = found.get("head").cloned().unwrap_or_default();
    let (checkpoint, verifier) = opened(&head, key)?;
    let certificate = BASE64_STANDARD.decode(text(&found, "/certificate")?).map_err(|_| broken("not base64"))?;
    // The leaf is computed from the certificate, not taken from the answer.
    let leaf = leaf(&certificate);
    let index = found.get("index").and_then(Value::as_u64).ok_or_else(|| broken("the answer has no index"))?;
    check_inclusion(&leaf, index, checkpoint.size, &hashes(&found)?, &checkpoint.root)
        .map_err(|_| broken("the proof does not hold: the certificate is not in the log"))?;
    session.out.one(&json!({
        "serial": serial,
        "index": index,
        "size": checkpoint.size,
        "leaf": BASE64_STANDARD.encode(leaf),
        "key": verifier.to_string(),
    }))
}
