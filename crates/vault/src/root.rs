//! What wraps the root key: a seal outside the database, and the envelope in which a wrapped root key is stored.
//!
//! The root key is random and made once; all else hangs under it. A [`RootSeal`] keeps it shut at rest: a master key
//! from a file, a passphrase or the environment, a key in a PKCS#11 token, a TPM, or a transit key of Vault or OpenBao.
//! To change the seal is to wrap this one key again. An envelope is
//! `1 | kind | key id of what is within (8) | body`; the body is as its kind of seal made it.

use async_trait::async_trait;
use base::Secret;

use fleetward_base as base;

use crate::master::MasterKey;
use crate::sealing::{BY_HIERARCHY, KEY_BYTES, KEY_ID_BYTES, KeyId, RawKey, SealingKey, hex};

const ENVELOPE_VERSION: u8 = 1;
/// A wrapped key is tens of bytes; of a TPM with its policy, hundreds.
pub const ENVELOPE_BYTES_MAX: usize = 8 * 1024;

/// The kinds of seals. The number stands in envelopes and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealKind {
    /// A master key: from a file, a passphrase, a variable or a credential.
    Master,
    Pkcs11,
    Tpm,
    Transit,
}

impl SealKind {
    const ALL: [Self; 4] = [Self::Master, Self::Pkcs11, Self::Tpm, Self::Transit];

    fn number(self) -> u8 {
        match self {
            Self::Master => 1,
            Self::Pkcs11 => 2,
            Self::Tpm => 3,
            Self::Transit => 4,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master-key",
            Self::Pkcs11 => "pkcs11",
            Self::Tpm => "tpm",
            Self::Transit => "transit",
        }
    }
}

/// Why a seal did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum RootSealError {
    /// What the seal stands on is out of reach: the token is not there, the service does not answer.
    #[error("the seal {seal} is out of reach: {reason}")]
    Unreachable { seal: String, reason: String },
    /// It answers and says no: a wrong PIN, a token without rights, another state of the machine.
    #[error("the seal {seal} refuses: {reason}")]
    Refused { seal: String, reason: String },
    #[error(
        "the root key is sealed by {sealed_by}, but the seal in use is {in_use}: start with the right --seal, or migrate"
    )]
    OtherSeal { sealed_by: &'static str, in_use: String },
    #[error("the root key does not open under {seal}: {reason}")]
    Broken { seal: String, reason: String },
    #[error(
        "sealed under the master key {sealed_under}, but the one in use is {in_use}: give the right key file, passphrase or variable"
    )]
    WrongKey { sealed_under: String, in_use: String },
    #[error("not a wrapped root key, or of a version that this program does not know")]
    Malformed,
}

/// What keeps the root key shut at rest.
#[async_trait]
pub trait RootSeal: Send + Sync {
    fn kind(&self) -> SealKind;

    /// Which one it is, for people: kind and place, never a secret.
    fn describe(&self) -> String;

    /// Shuts a key of 32 bytes; only this seal opens it again.
    async fn wrap(&self, key: &RootKey) -> Result<Vec<u8>, RootSealError>;

    /// Opens what [`Self::wrap`] gave.
    async fn unwrap(&self, body: &[u8]) -> Result<RootKey, RootSealError>;

    /// The master key, where the seal is one: what was sealed before there was a hierarchy opens under it.
    fn master(&self) -> Option<&MasterKey> {
        None
    }
}

/// The root key on its way between seal and vault.
#[derive(Clone, Debug)]
pub struct RootKey(pub(crate) RawKey);

impl RootKey {
    /// # Errors
    /// [`RootSealError::Malformed`] where it is not 32 bytes.
    pub fn from_bytes(bytes: &Secret<Vec<u8>>) -> Result<Self, RootSealError> {
        let bytes = bytes.expose().as_slice().try_into().map_err(|_| RootSealError::Malformed)?;
        Ok(Self(Secret::new(bytes)))
    }

    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        self.0.expose()
    }

    pub(crate) fn sealing(&self) -> SealingKey {
        SealingKey::new(BY_HIERARCHY, self.0.expose())
    }
}

/// A wrapped root key as it is stored, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub kind: SealKind,
    pub key_id: &'a KeyId,
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// # Errors
    /// [`RootSealError::Malformed`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RootSealError> {
        let malformed = || RootSealError::Malformed;
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(RootSealError::Malformed);
        }
        let ([version, kind], rest) = bytes.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (key_id, body) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or_else(malformed)?;
        let kind = SealKind::ALL.into_iter().find(|known| known.number() == *kind).ok_or_else(malformed)?;
        if *version != ENVELOPE_VERSION || body.is_empty() {
            return Err(RootSealError::Malformed);
        }
        Ok(Self { kind, key_id, body })
    }

    pub fn format(&self) -> Vec<u8> {
        let mut out = vec![ENVELOPE_VERSION, self.kind.number()];
        out.extend_from_slice(self.key_id);
        out.extend_from_slice(self.body);
        out
    }
}

/// Wraps `key` under `seal` and proves that it opens again: what is stored next would otherwise be lost with the old wrap.
pub(crate) async fn wrap(seal: &dyn RootSeal, key: &RootKey) -> Result<Vec<u8>, RootSealError> {
    let body = seal.wrap(key).await?;
    let bytes = Envelope { kind: seal.kind(), key_id: &key.sealing().id(), body: &body }.format();
    unwrap(seal, &bytes).await?;
    Ok(bytes)
}

pub(crate) async fn unwrap(seal: &dyn RootSeal, bytes: &[u8]) -> Result<RootKey, RootSealError> {
    let envelope = Envelope::parse(bytes)?;
    if envelope.kind != seal.kind() {
        return Err(RootSealError::OtherSeal { sealed_by: envelope.kind.as_str(), in_use: seal.describe() });
    }
    let key = seal.unwrap(envelope.body).await?;
    let found = key.sealing().id();
    if found != *envelope.key_id {
        let reason = format!("it gave the key {} where {} was expected", hex(&found), hex(envelope.key_id));
        return Err(RootSealError::Broken { seal: seal.describe(), reason });
    }
    Ok(key)
}
