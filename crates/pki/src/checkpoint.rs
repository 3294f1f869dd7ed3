//! Signed checkpoints of a log: its size and root as a note that anybody can keep and compare (C2SP tlog-checkpoint in
//! C2SP signed-note, Ed25519).
//!
//! ```text
//! fleetward.log/acme-9f86d081
//! 1234
//! 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=
//!
//! — fleetward.log/acme-9f86d081 Wm9v...
//! ```
//! The name of the key is the origin. What is read here may come from anybody: it is bounded, and nothing in it is
//! believed before the signature holds.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use fleetward_base as base;

use crate::key::BadKey;
use crate::merkle::Hash;

/// The type of an Ed25519 signature (C2SP signed-note).
const TYPE_ED25519: u8 = 1;
/// Longer notes are none of ours.
const NOTE_BYTES: usize = 16 * 1024;
const DASH: &str = "\u{2014} ";

/// What a log commits itself to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// Why a note is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNote {
    #[error("not a signed checkpoint")]
    Malformed,
    #[error("the checkpoint is not signed by this key")]
    Unsigned,
}

/// The key of a log, in memory.
pub struct LogKey {
    pair: Ed25519KeyPair,
}

impl LogKey {
    /// A new key and its PKCS#8, which the caller keeps where nobody else reads it.
    pub fn generate() -> (Self, Secret<Vec<u8>>) {
        let pair = Ed25519KeyPair::generate().expect("the operating system has a random source");
        let pkcs8 = pair.to_pkcs8().expect("a key that was just made can be written");
        let kept = Secret::new(pkcs8.as_ref().to_vec());
        (Self { pair }, kept)
    }

    /// # Errors
    /// [`BadKey`] where it is no Ed25519 key in PKCS#8.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadKey> {
        Ok(Self { pair: Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| BadKey)? })
    }

    /// The 32 bytes of the public key.
    pub fn public_bytes(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    pub fn public(&self, origin: &str) -> LogVerifier {
        LogVerifier { name: origin.to_owned(), key: self.pair.public_key().as_ref().to_vec() }
    }

    /// The signed note.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = format!("{}\n{}\n{}\n", checkpoint.origin, checkpoint.size, STANDARD.encode(checkpoint.root));
        let mut signed = self.public(&checkpoint.origin).key_id().to_vec();
        signed.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n{DASH}{} {}\n", checkpoint.origin, STANDARD.encode(signed))
    }
}

/// The public key of a log. Shown and read as `NAME+KEYID+BASE64`, the form of a verifier key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogVerifier {
    name: String,
    key: Vec<u8>,
}

impl LogVerifier {
    fn key_id(&self) -> [u8; 4] {
        let material = [self.name.as_bytes(), b"\n", &[TYPE_ED25519], &self.key].concat();
        let mut id = [0; 4];
        for (byte, of) in id.iter_mut().zip(digest(&SHA256, &material).as_ref()) {
            *byte = *of;
        }
        id
    }

    /// The checkpoint in a note that this key signed.
    ///
    /// # Errors
    /// [`BadNote`]: it is none, or another's.
    pub fn open(&self, note: &str) -> Result<Checkpoint, BadNote> {
        if note.len() > NOTE_BYTES {
            return Err(BadNote::Malformed);
        }
        // The last blank line parts the text from the signatures; the text keeps its line end.
        let at = note.rfind("\n\n").ok_or(BadNote::Malformed)?;
        let (text, signatures) = note.split_at_checked(at + 1).ok_or(BadNote::Malformed)?;
        let key = UnparsedPublicKey::new(&ED25519, &self.key);
        let holds = |line: &str| {
            let (name, encoded) = line.strip_prefix(DASH)?.rsplit_once(' ')?;
            let bytes = STANDARD.decode(encoded).ok()?;
            let (id, signature) = bytes.split_at_checked(4)?;
            let ours = name == self.name && id == self.key_id();
            (ours && key.verify(text.as_bytes(), signature).is_ok()).then_some(())
        };
        if !signatures.lines().any(|line| holds(line).is_some()) {
            return Err(BadNote::Unsigned);
        }
        let mut lines = text.lines();
        let origin = lines.next().filter(|origin| *origin == self.name).ok_or(BadNote::Malformed)?.to_owned();
        let size = lines.next().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let size = size.and_then(|digits| digits.parse().ok()).ok_or(BadNote::Malformed)?;
        let root = lines.next().and_then(|line| STANDARD.decode(line).ok()).ok_or(BadNote::Malformed)?;
        let root = Hash::try_from(root.as_slice()).map_err(|_| BadNote::Malformed)?;
        Ok(Checkpoint { origin, size, root })
    }
}

impl fmt::Display for LogVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[TYPE_ED25519], self.key.as_slice()].concat();
        write!(f, "{}+{:08x}+{}", self.name, u32::from_be_bytes(self.key_id()), STANDARD.encode(key))
    }
}

impl FromStr for LogVerifier {
    type Err = BadNote;

    fn from_str(text: &str) -> Result<Self, BadNote> {
        // The name has no plus sign; base64 may.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(BadNote::Malformed);
        };
        let key = STANDARD.decode(key).map_err(|_| BadNote::Malformed)?;
        let (kind, key) = key.split_first().ok_or(BadNote::Malformed)?;
        let verifier = Self { name: name.to_owned(), key: key.to_vec() };
        let fits = *kind == TYPE_ED25519
            && verifier.key.len() == 32
            && u32::from_str_radix(id, 16).ok().map(u32::to_be_bytes) == Some(verifier.key_id());
        if fits { Ok(verifier) } else { Err(BadNote::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "fleetward.log/acme-1".to_owned(), size: 7, root: [9; 32] }
    }

    #[test]
    fn a_note_opens_for_its_key_and_no_other() {
        let (key, pkcs8) = LogKey::generate();
        let again = LogKey::from_pkcs8(pkcs8.expose()).expect("it reads what it wrote");
        let note = again.sign(&checkpoint());
        let verifier = key.public("fleetward.log/acme-1");
        assert_eq!(verifier.open(&note), Ok(checkpoint()));
        assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
        let (other, _) = LogKey::generate();
        assert_eq!(other.public("fleetward.log/acme-1").open(&note), Err(BadNote::Unsigned));
        assert_eq!(key.public("fleetward.log/other").open(&note), Err(BadNote::Unsigned));
        for (from, to) in [("\n7\n", "\n8\n"), ("acme-1\n7", "acme-2\n7"), ("\n\n", "\nextra\n\n")] {
            assert!(verifier.open(&note.replacen(from, to, 1)).is_err(), "{from:?}");
        }
        // Other signatures beside it are nobody's business.
        let more = format!("{note}{DASH}witness.example AAAAAAAA\n");
        assert_eq!(verifier.open(&more), Ok(checkpoint()));
    }

    /// The example of the signed-note format, made by Go's `note` package.
    #[test]
    fn a_key_of_another_house_reads_and_signs_the_same() {
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let verifier: LogVerifier = vkey.parse().expect("a verifier key");
        assert_eq!(verifier.to_string(), vkey);
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
            \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        // The signature holds; what it signs is no checkpoint.
        assert_eq!(verifier.open(note), Err(BadNote::Malformed));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config::with_cases(128))]
        #[test]
        fn reading_never_panics(text in ".{0,200}", cut in 0_usize..200) {
            let (key, _) = LogKey::generate();
            let verifier = key.public("fleetward.log/acme-1");
            verifier.open(&text).ok();
            text.parse::<LogVerifier>().ok();
            let note = key.sign(&checkpoint());
            verifier.open(note.get(..cut).unwrap_or(&note)).ok();
        }
    }
}
