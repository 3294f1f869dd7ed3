//! SHA-256 as a value, and the check of a stream against the size and hash that a manifest promises.
//!
//! [`Hasher`] refuses a stream at its first byte too many, so that an endless answer cannot fill a disk. It says nothing
//! about who promised: that is `trust`.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// A SHA-256 hash. Its text is 64 lower-case hexadecimal digits and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

/// A text that is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 hash: 64 lower-case hexadecimal digits")]
pub struct BadHash;

impl Sha256 {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(&aws_lc_rs::digest::digest(&SHA256, bytes))
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn from_digest(digest: &aws_lc_rs::digest::Digest) -> Self {
        Self(digest.as_ref().try_into().expect("SHA-256 is 32 bytes long"))
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The bytes of exactly `N` times two lower-case hexadecimal digits.
pub(crate) fn read_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (to, [high, low]) in out.iter_mut().zip(pairs) {
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

impl FromStr for Sha256 {
    type Err = BadHash;
    fn from_str(text: &str) -> Result<Self, BadHash> {
        read_hex(text).map(Self).ok_or(BadHash)
    }
}

impl TryFrom<String> for Sha256 {
    type Error = BadHash;
    fn try_from(text: String) -> Result<Self, BadHash> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        hash.to_string()
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// A stream that is not what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Bytes beyond the promised size. Found before the stream ends.
    #[error("longer than the promised {promised} bytes")]
    TooLong { promised: u64 },
    #[error("{seen} bytes where {promised} were promised")]
    TooShort { promised: u64, seen: u64 },
    #[error("SHA-256 is {seen} where {promised} was promised")]
    Hash { promised: Sha256, seen: Sha256 },
}

/// Holds a stream against the size and hash promised for it, chunk by chunk.
#[derive(Clone)]
pub struct Hasher {
    context: Context,
    promised_size: u64,
    promised_hash: Sha256,
    seen: u64,
}

impl Hasher {
    pub fn new(promised_size: u64, promised_hash: Sha256) -> Self {
        Self { context: Context::new(&SHA256), promised_size, promised_hash, seen: 0 }
    }

    /// Takes the next bytes. After an error the stream is refused and no further call can mend it.
    ///
    /// # Errors
    /// [`Mismatch::TooLong`] as soon as the promised size is passed.
    pub fn update(&mut self, chunk: &[u8]) -> Result<(), Mismatch> {
        let too_long = Mismatch::TooLong { promised: self.promised_size };
        let seen = u64::try_from(chunk.len()).ok().and_then(|n| self.seen.checked_add(n)).ok_or(too_long)?;
        self.seen = seen;
        if seen > self.promised_size {
            return Err(too_long);
        }
        self.context.update(chunk);
        Ok(())
    }

    /// Bytes taken so far.
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// Bytes that are still to come; zero once all are here.
    pub const fn missing(&self) -> u64 {
        self.promised_size.saturating_sub(self.seen)
    }

    /// Says whether the whole stream was the promised one.
    ///
    /// # Errors
    /// What differs: size before hash.
    pub fn finish(self) -> Result<(), Mismatch> {
        let promised = self.promised_size;
        if self.seen > promised {
            return Err(Mismatch::TooLong { promised });
        }
        if self.seen < promised {
            return Err(Mismatch::TooShort { promised, seen: self.seen });
        }
        let seen = Sha256::from_digest(&self.context.finish());
        if seen == self.promised_hash { Ok(()) } else { Err(Mismatch::Hash { promised: self.promised_hash, seen }) }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({} of {} bytes)", self.seen, self.promised_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_of_a_known_text() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Sha256::of(b"abc").to_string(), abc);
        assert_eq!(abc.parse(), Ok(Sha256::of(b"abc")));
        for bad in ["", "ab", &abc.to_uppercase(), &abc[1..], &format!("{abc}0"), &abc.replace('b', "g")] {
            assert_eq!(bad.parse::<Sha256>(), Err(BadHash), "{bad}");
        }
    }

    #[test]
    fn each_way_a_stream_can_differ() {
        let hash = Sha256::of(b"abc");
        let check = |chunks: &[&[u8]]| {
            let mut hasher = Hasher::new(3, hash);
            chunks.iter().try_for_each(|chunk| hasher.update(chunk)).and_then(|()| hasher.finish())
        };
        assert_eq!(check(&[b"a", b"", b"bc"]), Ok(()));
        assert_eq!(check(&[b"ab"]), Err(Mismatch::TooShort { promised: 3, seen: 2 }));
        assert_eq!(check(&[b"abc", b"d"]), Err(Mismatch::TooLong { promised: 3 }));
        assert_eq!(check(&[b"abd"]), Err(Mismatch::Hash { promised: hash, seen: Sha256::of(b"abd") }));
    }

    #[test]
    fn a_stream_that_grew_too_long_stays_refused() {
        let mut hasher = Hasher::new(1, Sha256::of(b"a"));
        assert!(hasher.update(b"ab").is_err());
        assert!(hasher.update(b"").is_err());
        assert_eq!(hasher.finish(), Err(Mismatch::TooLong { promised: 1 }));
    }
}
