//! From bytes that claim to be a release to a release that may be installed.
//!
//! [`Trust`] is the seam: today's [`Signers`] is a set of public keys, any one of which may sign; a TUF client (roles,
//! thresholds, expiry) becomes another implementation and nothing behind it changes. A [`VerifiedRelease`] is made here and
//! nowhere else, and the order is fixed: signature first, then the manifest is read, so that no parser meets bytes that
//! nobody answers for.

use std::collections::BTreeMap;

use fleetward_base::limits;

use crate::manifest::{Artifact, BadManifest, Manifest, NoArtifact, select};
use crate::sign::{KeyId, Signature, SigningKey, VerifyingKey};

/// A manifest and what vouches for it, as they were received: nothing of this has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRelease {
    /// The exact bytes that were signed.
    pub manifest: Vec<u8>,
    /// The signature as received; 64 bytes if it is one.
    pub signature: Vec<u8>,
    /// Which key is said to have signed.
    pub key_id: KeyId,
}

impl SignedRelease {
    /// Signs a manifest in its canonical form.
    pub fn sign(manifest: &Manifest, key: &SigningKey) -> Self {
        let bytes = manifest.canonical();
        let signature = key.sign(&bytes).as_bytes().to_vec();
        Self { manifest: bytes, signature, key_id: key.verifying_key().key_id() }
    }
}

/// Why a release is not trusted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("manifest of {size} bytes; {max} at most")]
    TooLarge { size: usize, max: usize },
    /// Signed by nobody whom we know; also where nobody is known.
    #[error("key {0} is not an accepted signer")]
    UnknownSigner(KeyId),
    #[error("the signature is not that of key {0} over this manifest")]
    BadSignature(KeyId),
    #[error(transparent)]
    BadManifest(#[from] BadManifest),
}

/// Decides whether a release may be believed.
pub trait Trust {
    /// Checks who vouches for the release and then reads it.
    ///
    /// # Errors
    /// [`Refused`] with the first reason not to believe it.
    fn verify(&self, release: &SignedRelease) -> Result<VerifiedRelease, Refused>;
}

/// A release whose signature and manifest have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedRelease {
    manifest: Manifest,
    signed: SignedRelease,
}

impl VerifiedRelease {
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes as they were signed, for storing and passing on.
    pub const fn signed(&self) -> &SignedRelease {
        &self.signed
    }

    /// The artifact for this hardware.
    ///
    /// # Errors
    /// [`NoArtifact`] where the release is for other hardware.
    pub fn artifact_for(&self, hardware: &str) -> Result<&Artifact, NoArtifact> {
        select(&self.manifest, hardware)
    }
}

/// The public keys whose releases are accepted. An empty set accepts nothing.
#[derive(Clone, Debug, Default)]
pub struct Signers(BTreeMap<KeyId, VerifyingKey>);

impl Signers {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn insert(&mut self, key: VerifyingKey) {
        self.0.insert(key.key_id(), key);
    }

    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.keys().copied()
    }
}

impl FromIterator<VerifyingKey> for Signers {
    fn from_iter<I: IntoIterator<Item = VerifyingKey>>(keys: I) -> Self {
        let mut signers = Self::default();
        keys.into_iter().for_each(|key| signers.insert(key));
        signers
    }
}

impl Trust for Signers {
    fn verify(&self, release: &SignedRelease) -> Result<VerifiedRelease, Refused> {
        let (size, max) = (release.manifest.len(), limits::MANIFEST_BYTES);
        if size > max {
            return Err(Refused::TooLarge { size, max });
        }
        let key = self.0.get(&release.key_id).ok_or(Refused::UnknownSigner(release.key_id))?;
        let signature = Signature::from_bytes(&release.signature).ok_or(Refused::BadSignature(release.key_id))?;
        if !key.verifies(&release.manifest, &signature) {
            return Err(Refused::BadSignature(release.key_id));
        }
        Ok(VerifiedRelease { manifest: Manifest::parse(&release.manifest)?, signed: release.clone() })
    }
}

#[cfg(test)]
mod tests {
    use fleetward_base::{SeededRng, Timestamp};

    use super::*;
    use crate::digest::Sha256;

    fn release(key: &SigningKey) -> SignedRelease {
        let artifact =
            Artifact { filename: "a.img".into(), hardware: vec!["r1".into()], sha256: Sha256::of(b"abc"), size: 3 };
        let manifest = Manifest::new("os".into(), "2.0".into(), Timestamp::from_secs(1), vec![artifact]).unwrap();
        SignedRelease::sign(&manifest, key)
    }

    #[test]
    fn only_an_accepted_signer_is_believed() {
        let (mine, other) = (SigningKey::generate(&SeededRng::new(1)), SigningKey::generate(&SeededRng::new(2)));
        let signers: Signers = [mine.verifying_key()].into_iter().collect();
        let verified = signers.verify(&release(&mine)).unwrap();
        assert_eq!(verified.manifest().version(), "2.0");
        assert_eq!(verified.artifact_for("r1").unwrap().size, 3);
        assert!(verified.artifact_for("r2").is_err(), "made for other hardware");
        assert!(matches!(signers.verify(&release(&other)), Err(Refused::UnknownSigner(_))));
        assert!(matches!(Signers::default().verify(&release(&mine)), Err(Refused::UnknownSigner(_))));
    }

    #[test]
    fn a_changed_manifest_signature_or_key_id_is_refused() {
        let (mine, other) = (SigningKey::generate(&SeededRng::new(1)), SigningKey::generate(&SeededRng::new(2)));
        let signers: Signers = [mine.verifying_key(), other.verifying_key()].into_iter().collect();
        let good = release(&mine);
        let text = String::from_utf8(good.manifest.clone()).unwrap();
        let tampered = SignedRelease { manifest: text.replace("2.0", "2.1").into_bytes(), ..good.clone() };
        assert!(matches!(signers.verify(&tampered), Err(Refused::BadSignature(_))));
        let cut = SignedRelease { signature: good.signature[..63].to_vec(), ..good.clone() };
        assert!(matches!(signers.verify(&cut), Err(Refused::BadSignature(_))));
        let lying = SignedRelease { key_id: other.verifying_key().key_id(), ..good };
        assert!(matches!(signers.verify(&lying), Err(Refused::BadSignature(_))));
    }

    #[test]
    fn a_signed_manifest_is_still_read_strictly() {
        let mine = SigningKey::generate(&SeededRng::new(1));
        let signers: Signers = [mine.verifying_key()].into_iter().collect();
        let bytes = br#"{"name":"os"}"#.to_vec();
        let signature = mine.sign(&bytes).as_bytes().to_vec();
        let signed = SignedRelease { manifest: bytes, signature, key_id: mine.verifying_key().key_id() };
        assert!(matches!(signers.verify(&signed), Err(Refused::BadManifest(_))));
    }
}
