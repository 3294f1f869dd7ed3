//! The form in which evidence arrives: `{"format": "tpm2", "evidence": {..}}`, in JSON or CBOR. Bytes are base64 in JSON and
//! bytes in CBOR, digests hex.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dice::Chain;
use crate::tpm::certified::Certified;
use crate::tpm::quote::Quote;

/// Bytes: base64 in JSON, and themselves in CBOR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By what is there and not by what the format is for: what stands before the name of its kind is read from memory,
        // which does not say what it was.
        deserializer.deserialize_any(Whatever)
    }
}

/// Reads base64, or bytes as they are.
struct Whatever;

impl Visitor<'_> for Whatever {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or a text of them in base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
        BASE64_STANDARD.decode(text).map(Bytes).map_err(|_| E::custom("not base64"))
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }
}

/// Evidence of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", content = "evidence", rename_all = "kebab-case")]
pub enum Evidence {
    Tpm2(Tpm2),
    EatCwt(Bytes),
    EatJwt(String),
    Psa(Bytes),
    Dice(Dice),
}

/// A quote, and what goes with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm2 {
    /// TPMS_ATTEST.
    pub quoted: Bytes,
    /// TPMT_SIGNATURE.
    pub signature: Bytes,
    /// PCRs of the SHA-256 bank, by number; hex.
    pub pcrs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_log: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certified: Option<CertifiedKey>,
}

/// The key of the device's certificate, vouched for by the attestation key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedKey {
    /// TPMT_PUBLIC.
    pub public: Bytes,
    /// TPMS_ATTEST.
    pub attest: Bytes,
    /// TPMT_SIGNATURE.
    pub signature: Bytes,
}

/// A chain of DICE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dice {
    /// DER, the alias certificate first.
    pub chain: Vec<Bytes>,
    pub signature: Bytes,
}

impl Evidence {
    /// The word for its kind.
    pub const fn format(&self) -> &'static str {
        match self {
            Self::Tpm2(_) => "tpm2",
            Self::EatCwt(_) => "eat-cwt",
            Self::EatJwt(_) => "eat-jwt",
            Self::Psa(_) => "psa",
            Self::Dice(_) => "dice",
        }
    }

    /// All kinds, for whoever is asked.
    pub const FORMATS: [&'static str; 5] = ["tpm2", "eat-cwt", "eat-jwt", "psa", "dice"];
}

impl Tpm2 {
    /// The quote in it; none where the PCRs are not numbers with values in hex.
    pub fn quote(&self) -> Option<Quote> {
        let value = |(pcr, text): (&String, &String)| Some((pcr.parse().ok()?, unhex(text)?));
        Some(Quote {
            statement: self.quoted.0.clone(),
            signature: self.signature.0.clone(),
            pcrs: self.pcrs.iter().map(value).collect::<Option<_>>()?,
            log: self.event_log.as_ref().map(|log| log.0.clone()),
        })
    }

    pub fn certified(&self) -> Option<Certified> {
        self.certified.as_ref().map(|key| Certified {
            public: key.public.0.clone(),
            statement: key.attest.0.clone(),
            signature: key.signature.0.clone(),
        })
    }
}

impl Dice {
    pub fn chain(&self) -> Chain {
        Chain {
            certificates: self.chain.iter().map(|der| der.0.clone()).collect(),
            signature: self.signature.0.clone(),
        }
    }
}

/// Bytes of an even number of hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
