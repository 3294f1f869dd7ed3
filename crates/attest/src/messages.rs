//! What a device and the server say to each other while the device proves itself, over whichever protocol.
//!
//! In JSON bytes are base64, in CBOR they are bytes; names are the same. Requests are held to their fields: what is
//! misspelt is refused and not passed over. Answers may get more fields.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::evidence::{Bytes, CertifiedKey};

/// `activate`: a TPM's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// TPMT_PUBLIC of the endorsement key.
    pub endorsement: Bytes,
    /// DER; none where the TPM has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Bytes>,
    /// DER of what stands between it and the maker's root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Bytes>,
    /// TPMT_PUBLIC of the attestation key.
    pub attestation: Bytes,
}

/// What the TPM is to open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// TPM2B_ID_OBJECT.
    pub credential: Bytes,
    /// TPM2B_ENCRYPTED_SECRET.
    pub secret: Bytes,
    /// Seconds within which the proof is to come.
    pub ttl: u64,
}

/// `proof`: what the TPM opened, and the key that the next certificate is to be about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    pub secret: Bytes,
    /// TPM2_Certify over that key; its nonce is the secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<CertifiedKey>,
}

/// The attestation key is known now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// Its certificate, DER; none for whoever is no device yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Bytes>,
    /// Seconds for which a certificate for the certified key is issued on this proof; none where no key was certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified_for: Option<u64>,
}

/// `challenge`: what is to be in the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    pub nonce: Bytes,
    /// Seconds within which the evidence is to come.
    pub ttl: u64,
    /// The kinds that are understood.
    pub formats: Vec<String>,
    /// The PCRs that a quote is to be about.
    pub pcrs: BTreeSet<u8>,
}

/// Nothing: what is said with a challenge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// What the evidence is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// affirming, warning or contraindicated.
    pub verdict: String,
    pub reasons: Vec<String>,
    /// Whether the device is held back.
    pub restricted: bool,
    /// Seconds until it is to attest again; the device's clock may be wrong.
    #[serde(default)]
    pub due_in: Option<u64>,
}

/// Why there is no answer, over MQTT; over HTTPS that is a problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// As the status of the problem document.
    pub status: u16,
    /// Stable, in kebab case.
    pub code: String,
    pub reason: String,
    /// Seconds after which it may go better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}
