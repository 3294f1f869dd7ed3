//! The conversation in which the device proves itself: activation of its TPM's keys, a challenge, a quote, a verdict.
//!
//! Over HTTPS with the device's certificate. The TPM is asked on another thread, since it blocks. Nothing is kept: the
//! keys are the same after each start, and activating them again is harmless.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fleetward_attest::evidence::{Bytes as Encoded, CertifiedKey, Tpm2};
use fleetward_attest::tpm::{Tpm, TpmError, certified};
use fleetward_attest::{Evidence, messages};
use fleetward_base::{Rng, limits};
use http_body_util::Full;
use hyper::Request;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::attester::Keys;
use crate::est::{Proof, Service, basic};
use crate::http::{self, HttpError};
use crate::identity::Credential;
use crate::keys::tpm::{TpmKeys, handle};
use crate::record::Slot;
use crate::tpm::Place;

/// Longest answer of the server.
const ANSWER_BYTES: usize = 64 * 1024;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Tpm(#[from] TpmError),
    #[error("the server refuses {path} with status {status}: {reason}")]
    Refused { path: &'static str, status: u16, reason: String },
    #[error("the server's answer to {0} is not what it must be")]
    Answer(&'static str),
    #[error("the event log {0}: {1}")]
    Log(PathBuf, std::io::Error),
}

/// What the server thinks of this device.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    pub verdict: String,
    pub reasons: Vec<String>,
    pub restricted: bool,
    /// Seconds until the next time; the device's clock may be wrong.
    #[serde(default)]
    pub due_in: Option<u64>,
}

/// Where the TPM and the log are.
#[derive(Clone)]
pub struct Attester {
    pub service: Service,
    pub place: Place,
    /// The connection of the device's keys, where they are in this TPM; their attestation key vouches for them then.
    pub shared: Option<TpmKeys>,
    pub log: PathBuf,
    pub rng: Arc<dyn Rng>,
}

#[derive(Deserialize)]
struct Challenge {
    nonce: Encoded,
    pcrs: std::collections::BTreeSet<u8>,
}

#[derive(Deserialize)]
struct Activation {
    credential: Encoded,
    secret: Encoded,
}

impl Attester {
    /// Proves the TPM, then the state of the machine.
    ///
    /// # Errors
    /// What the TPM, the network or the server says.
    pub async fn attest(&self, credential: &Credential) -> Result<Verdict, AttestError> {
        self.activate(credential).await?;
        let challenge: Challenge = self.ask(credential, "/v1/attest/challenge", &json!({})).await?;
        let spki = credential.key.public_spki().to_vec();
        let own = self.shared.is_some().then(|| handle(credential.place));
        let speak = move |tpm: &mut Tpm, keys: &Keys| {
            let nonce = &challenge.nonce.0;
            let quoted = keys.quote(tpm, nonce, &challenge.pcrs)?;
            let Some(own) = own else { return Ok((quoted, None)) };
            let signed = keys.certify(tpm, own, &certified::qualifying_data(nonce, &spki))?;
            let public = Encoded(tpm.read_public(own)?.bytes().to_vec());
            let attest = Encoded(signed.statement);
            Ok((quoted, Some(CertifiedKey { public, attest, signature: Encoded(signed.signature) })))
        };
        let (quoted, certified) = self.with_keys(speak).await?;
        let evidence = Evidence::Tpm2(Tpm2 {
            quoted: Encoded(quoted.signed.statement),
            signature: Encoded(quoted.signed.signature),
            pcrs: quoted.pcrs.iter().map(|(pcr, value)| (pcr.to_string(), hex(value))).collect(),
            event_log: read_log(&self.log)?.map(Encoded),
            certified,
        });
        let body = serde_json::to_value(&evidence).map_err(|_| AttestError::Answer("/v1/attest"))?;
        self.ask(credential, "/v1/attest", &body).await
    }

    /// Shows the TPM before a certificate is asked for, and has it vouch for the key in this place: a server whose policy
    /// wants to know which hardware has a key issues a certificate for no other. Keys that are not in this TPM are nobody's
    /// to vouch for.
    ///
    /// # Errors
    /// What the TPM, the network or the server says.
    pub async fn introduce(&self, device: &str, proof: &Proof<'_>, place: Slot) -> Result<(), AttestError> {
        if self.shared.is_none() {
            return Ok(());
        }
        let own = handle(place);
        let wrapped: Activation = self.ask_as(device, proof, "/v1/attest/activate", &self.keys_shown().await?).await?;
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let speak = move |tpm: &mut Tpm, keys: &Keys| {
            let secret = keys.activate(tpm, &wrapped.credential.0, &wrapped.secret.0, &nonce)?;
            let public = tpm.read_public(own)?;
            let signed = keys.certify(tpm, own, &certified::qualifying_data(&secret, &public.spki()))?;
            let certified = CertifiedKey {
                public: Encoded(public.bytes().to_vec()),
                attest: Encoded(signed.statement),
                signature: Encoded(signed.signature),
            };
            Ok(messages::Proof { secret: Encoded(secret), certified: Some(certified) })
        };
        let path = "/v1/attest/activate/proof";
        let body = serde_json::to_value(self.with_keys(speak).await?).map_err(|_| AttestError::Answer(path))?;
        self.ask_as::<Value>(device, proof, path, &body).await.map(drop)
    }

    /// What is shown of the TPM's keys.
    async fn keys_shown(&self) -> Result<Value, AttestError> {
        let shown = |_: &mut Tpm, keys: &Keys| {
            Ok(messages::Keys {
                endorsement: Encoded(keys.endorsement_public.bytes().to_vec()),
                certificate: keys.certificate.clone().map(Encoded),
                chain: Vec::new(),
                attestation: Encoded(keys.attestation_public.bytes().to_vec()),
            })
        };
        let shown = self.with_keys(shown).await?;
        serde_json::to_value(shown).map_err(|_| AttestError::Answer("/v1/attest/activate"))
    }

    async fn activate(&self, credential: &Credential) -> Result<(), AttestError> {
        let shown = self.keys_shown().await?;
        let wrapped: Activation = self.ask(credential, "/v1/attest/activate", &shown).await?;
        let mut nonce = [0; 16];
        self.rng.fill(&mut nonce);
        let open =
            move |tpm: &mut Tpm, keys: &Keys| keys.activate(tpm, &wrapped.credential.0, &wrapped.secret.0, &nonce);
        let secret = self.with_keys(open).await?;
        let proof = json!({ "secret": Encoded(secret) });
        self.ask::<Value>(credential, "/v1/attest/activate/proof", &proof).await.map(drop)
    }

    /// Does something with the TPM and its keys on another thread; afterwards they are out of the TPM again.
    async fn with_keys<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tpm, &Keys) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, AttestError> {
        let (place, shared) = (self.place.clone(), self.shared.clone());
        let done = tokio::task::spawn_blocking(move || {
            let work = |tpm: &mut Tpm| {
                let keys = Keys::open(tpm)?;
                let outcome = work(tpm, &keys);
                keys.close(tpm)?;
                outcome
            };
            match shared {
                Some(shared) => shared.with(work),
                None => work(&mut place.open()?),
            }
        });
        Ok(done.await.unwrap_or_else(|error| Err(TpmError::Transport(std::io::Error::other(error))))?)
    }

    async fn ask<T: for<'a> Deserialize<'a>>(
        &self,
        credential: &Credential,
        path: &'static str,
        body: &Value,
    ) -> Result<T, AttestError> {
        self.ask_as("", &Proof::Certificate(credential), path, body).await
    }

    /// As [`Self::ask`], by whatever the device has to prove who it is.
    async fn ask_as<T: for<'a> Deserialize<'a>>(
        &self,
        device: &str,
        proof: &Proof<'_>,
        path: &'static str,
        body: &Value,
    ) -> Result<T, AttestError> {
        let body = Full::new(Bytes::from(body.to_string()));
        let tenant = self.service.label.as_ref().map(|label| format!("?tenant={label}")).unwrap_or_default();
        let (to, credential, basic) = match proof {
            Proof::Certificate(credential) => (path.to_owned(), Some(*credential), None),
            Proof::Token(token) => (format!("{path}{tenant}"), None, Some(basic(device, token))),
        };
        let mut request = Request::post(to).header("content-type", "application/json");
        if let Some(basic) = basic {
            request = request.header("authorization", basic);
        }
        let request = request.body(body).map_err(HttpError::from)?;
        let to = (self.service.server.host.as_str(), self.service.port);
        let mut answer = http::send(&self.service.server, to, credential, request).await?;
        let status = answer.status();
        let body = answer.body(ANSWER_BYTES).await?;
        if status != 200 {
            let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
            let reason = problem.get("detail").and_then(Value::as_str).unwrap_or("no reason given");
            let reason = reason.chars().filter(|c| !c.is_control()).take(200).collect();
            return Err(AttestError::Refused { path, status, reason });
        }
        serde_json::from_slice(&body).map_err(|_| AttestError::Answer(path))
    }
}

/// The log of the firmware, where there is one. One that is too long to be sent is an error and not half a log.
fn read_log(path: &Path) -> Result<Option<Vec<u8>>, AttestError> {
    match std::fs::read(path) {
        Ok(log) if log.is_empty() => Ok(None),
        Ok(log) if log.len() <= limits::EVENT_LOG_BYTES => Ok(Some(log)),
        Ok(_) => Err(AttestError::Log(path.to_owned(), std::io::Error::other("it is too long"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AttestError::Log(path.to_owned(), error)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
