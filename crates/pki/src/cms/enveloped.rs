//! EnvelopedData (RFC 5652 §6): content that the holder of an RSA key can read.
//!
//! Opened: RSA PKCS#1 v1.5 or OAEP with SHA-2, and AES-128 or AES-256 in CBC. DES, 3DES and all else is refused by name
//! before a key is touched. Beyond that nothing fails: a wrapped key that is none gives another key ([`RsaKey`]), and
//! content whose padding is none stays as long as it was; both read as noise, and whoever sent it hears the same of both.

use aws_lc_rs::cipher::{
    AES_128, AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use base::{Rng, Secret};
use const_oid::ObjectIdentifier;
use der::{Decode, Tag, TagNumber};

use fleetward_base as base;

use super::holder::{Holder, HolderId};
use super::walk::{Walk, context, primitive};
use super::{DATA, ENVELOPED_DATA, LIST, ber, content_info};
use crate::asn1;
use crate::rsa::{self, NotRsa, OaepHash, RsaKey, Transport};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_OAEP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const AES_128_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.2");
const AES_256_CBC: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.1.42");
const OAEP_HASHES: [(OaepHash, ObjectIdentifier); 3] =
    [(OaepHash::Sha256, super::SHA_256), (OaepHash::Sha384, super::SHA_384), (OaepHash::Sha512, super::SHA_512)];
const BLOCK: usize = 16;

/// What the content is encrypted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    Aes128Cbc,
    Aes256Cbc,
}

impl Cipher {
    fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Cbc => 16,
            Self::Aes256Cbc => 32,
        }
    }

    fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Aes128Cbc => AES_128_CBC,
            Self::Aes256Cbc => AES_256_CBC,
        }
    }

    fn key(self, bytes: &[u8]) -> UnboundCipherKey {
        let algorithm = match self {
            Self::Aes128Cbc => &AES_128,
            Self::Aes256Cbc => &AES_256,
        };
        UnboundCipherKey::new(algorithm, bytes).expect("the key has the length of its cipher")
    }
}

/// Why an envelope is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("not a CMS EnvelopedData")]
    Malformed,
    #[error(
        "it is encrypted in a way that is not accepted; use AES in CBC, and RSA with PKCS#1 v1.5 or OAEP with SHA-2"
    )]
    Algorithm,
}

/// An envelope that was read and is still closed.
#[derive(Clone, Debug)]
pub struct Enveloped {
    recipients: Vec<Recipient>,
    pub cipher: Cipher,
    iv: [u8; BLOCK],
    content: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Recipient {
    id: HolderId,
    transport: Transport,
    wrapped: Vec<u8>,
}

impl Enveloped {
    /// Reads ContentInfo { envelopedData } in DER.
    ///
    /// # Errors
    /// [`EnvelopeError`]: none, or encrypted in another way.
    pub fn read(der: &[u8]) -> Result<Self, EnvelopeError> {
        let parts = split(der).map_err(|_| EnvelopeError::Malformed)?;
        let cipher = match parts.cipher {
            AES_128_CBC => Cipher::Aes128Cbc,
            AES_256_CBC => Cipher::Aes256Cbc,
            _ => return Err(EnvelopeError::Algorithm),
        };
        let iv = parts.iv.and_then(|iv| iv.try_into().ok()).ok_or(EnvelopeError::Malformed)?;
        if parts.content.is_empty() || parts.content.len() % BLOCK != 0 {
            return Err(EnvelopeError::Malformed);
        }
        let (mut recipients, known) = (Vec::new(), !parts.recipients.is_empty());
        for (id, algorithm, wrapped) in parts.recipients {
            let Some(transport) = transport(&algorithm) else { continue };
            recipients.push(Recipient { id, transport, wrapped });
        }
        if recipients.is_empty() {
            return Err(if known { EnvelopeError::Algorithm } else { EnvelopeError::Malformed });
        }
        Ok(Self { recipients, cipher, iv, content: parts.content })
    }

    /// As [`Self::read`], of what is BER or DER.
    ///
    /// # Errors
    /// As there.
    pub fn read_ber(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        match Self::read(bytes) {
            Err(EnvelopeError::Malformed) => Self::read(&ber::to_der(bytes).ok_or(EnvelopeError::Malformed)?),
            other => other,
        }
    }

    /// Whether it can be opened with the key of this certificate.
    pub fn is_for(&self, holder: &Holder) -> bool {
        self.recipients.iter().any(|recipient| recipient.id.is(holder))
    }

    /// The content; noise where the envelope was altered or is for another key.
    pub fn open(&self, holder: &Holder, key: &RsaKey) -> Secret<Vec<u8>> {
        let recipient = self.recipients.iter().find(|recipient| recipient.id.is(holder)).or(self.recipients.first());
        let Some(recipient) = recipient else { return Secret::new(Vec::new()) };
        let content_key = key.unwrap(recipient.transport, &recipient.wrapped, self.cipher.key_bytes());
        let mut content = Secret::new(self.content.clone());
        let cbc = DecryptingKey::cbc(self.cipher.key(content_key.expose())).expect("AES has this mode");
        let context = DecryptionContext::Iv128(FixedLength::from(self.iv));
        cbc.decrypt(content.expose_mut(), context).expect("whole blocks decrypt");
        let length = unpadded(content.expose());
        content.expose_mut().truncate(length);
        content
    }
}

/// How long the content is without its padding (RFC 5652 §6.3); all of it where that is none. Looks at the same bytes
/// whatever they are.
fn unpadded(content: &[u8]) -> usize {
    let count = content.last().copied().unwrap_or(0);
    let padded = usize::from(count);
    let mut wrong = u8::from(padded == 0) | u8::from(padded > BLOCK);
    for (back, byte) in content.iter().rev().take(BLOCK).enumerate() {
        let within = if back < padded { 0xff } else { 0 };
        wrong |= (byte ^ count) & within;
    }
    if wrong == 0 { content.len() - padded } else { content.len() }
}

/// Seals content for the holder of an RSA key. The content key and the IV come from `rng`.
///
/// # Errors
/// [`NotRsa`] where nothing can be wrapped for that key.
pub fn seal(rng: &dyn Rng, holder: &Holder, cipher: Cipher, content: &[u8]) -> Result<Vec<u8>, NotRsa> {
    let (mut key, mut iv) = (Secret::new(vec![0; cipher.key_bytes()]), [0; BLOCK]);
    rng.fill(key.expose_mut());
    rng.fill(&mut iv);
    let wrapped = rsa::wrap(&holder.spki, key.expose())?;
    let padding = BLOCK - content.len() % BLOCK;
    let mut sealed = content.to_vec();
    sealed.resize(content.len() + padding, u8::try_from(padding).expect("a block at most"));
    EncryptingKey::cbc(cipher.key(key.expose()))
        .and_then(|cbc| cbc.less_safe_encrypt(&mut sealed, EncryptionContext::Iv128(FixedLength::from(iv))))
        .expect("whole blocks encrypt");
    let recipient = asn1::sequence(&[
        &asn1::unsigned(&[0]),
        &holder.name(),
        &asn1::sequence(&[&asn1::oid(RSA), &asn1::NULL]),
        &asn1::octets(&wrapped),
    ]);
    let encrypted = asn1::sequence(&[
        &asn1::oid(DATA),
        &asn1::sequence(&[&asn1::oid(cipher.oid()), &asn1::octets(&iv)]),
        &asn1::element(0x80, &[&sealed]),
    ]);
    let enveloped = asn1::sequence(&[&asn1::unsigned(&[0]), &asn1::element(asn1::SET, &[&recipient]), &encrypted]);
    Ok(content_info(ENVELOPED_DATA, &enveloped))
}

struct Parts {
    /// Holder, the whole AlgorithmIdentifier of the key transport, the wrapped key.
    recipients: Vec<(HolderId, Vec<u8>, Vec<u8>)>,
    cipher: ObjectIdentifier,
    iv: Option<Vec<u8>>,
    content: Vec<u8>,
}

fn split(der: &[u8]) -> der::Result<Parts> {
    let mut enveloped = super::enter(der, ENVELOPED_DATA)?;
    enveloped.expect(Tag::Integer)?;
    enveloped.optional(context(TagNumber::N0))?;
    let mut set = enveloped.enter(Tag::Set)?;
    let mut recipients = Vec::new();
    while !set.done() {
        let info = set.next()?;
        // Key agreement, passwords and the like have tags of their own and are passed over.
        if info.tag != Tag::Sequence || recipients.len() >= LIST {
            continue;
        }
        let mut info = Walk::new(info.content)?;
        info.expect(Tag::Integer)?;
        let id = HolderId::read(&mut info)?;
        let algorithm = info.expect(Tag::Sequence)?.whole.to_vec();
        recipients.push((id, algorithm, info.expect(Tag::OctetString)?.content.to_vec()));
        info.end()?;
    }
    let mut encrypted = enveloped.enter(Tag::Sequence)?;
    encrypted.expect(Tag::ObjectIdentifier)?;
    let mut algorithm = encrypted.enter(Tag::Sequence)?;
    let cipher = ObjectIdentifier::from_der(algorithm.expect(Tag::ObjectIdentifier)?.whole)?;
    let iv = algorithm.optional(Tag::OctetString)?.map(|iv| iv.content.to_vec());
    let content = encrypted.next()?;
    let content = if content.tag == context(TagNumber::N0) {
        ber::pieces(content.content).ok_or_else(|| Tag::OctetString.value_error())?
    } else {
        content.tag.assert_eq(primitive(TagNumber::N0))?;
        content.content.to_vec()
    };
    encrypted.end()?;
    Ok(Parts { recipients, cipher, iv, content })
}

/// PKCS#1 v1.5 with its NULL or without; OAEP with the same SHA-2 in both places and no label, the only parameters that
/// are not the default, which is SHA-1.
fn transport(algorithm: &[u8]) -> Option<Transport> {
    let null: [&[u8]; 2] = [&[], &asn1::NULL];
    if null.iter().any(|null| asn1::sequence(&[&asn1::oid(RSA), null]) == algorithm) {
        return Some(Transport::Pkcs1);
    }
    OAEP_HASHES.into_iter().find_map(|(hash, oid)| {
        let fits = null.iter().any(|null| {
            let digest = asn1::sequence(&[&asn1::oid(oid), null]);
            let mask = asn1::sequence(&[&asn1::oid(MGF1), &digest]);
            let parameters = asn1::sequence(&[&asn1::element(0xa0, &[&digest]), &asn1::element(0xa1, &[&mask])]);
            asn1::sequence(&[&asn1::oid(RSA_OAEP), &parameters]) == algorithm
        });
        fits.then_some(Transport::Oaep(hash))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_taken_off_where_it_is_one() {
        let block = |end: &[u8]| [vec![9; 32 - end.len()], end.to_vec()].concat();
        for (end, length) in [
            (&[1][..], 31),
            (&[2, 2], 30),
            (&[16; 16], 16),
            (&[0], 32),
            (&[17; 17], 32),
            (&[3, 2, 3], 32),
            (&[255], 32),
        ] {
            assert_eq!(unpadded(&block(end)), length, "{end:?}");
        }
        assert_eq!(unpadded(&[]), 0);
    }
}
