//! SignedData with one signer and signed attributes (RFC 5652 §5), read and written.
//!
//! The attributes are checked as the bytes that came, under the tag of a SET (§5.4), and the content by its digest among
//! them. SHA-256, SHA-384 and SHA-512 count; anything else is refused by name. Which certificate is to be believed is
//! not known here.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use base::Timestamp;
use const_oid::ObjectIdentifier;
use der::{Decode, Tag, TagNumber};
use spki::AlgorithmIdentifierRef;

use fleetward_base as base;

use super::holder::{Holder, HolderId};
use super::walk::{Walk, context};
use super::{DATA, LIST, SHA_256, SHA_384, SHA_512, SIGNED_DATA, ber, content_info};
use crate::asn1;
use crate::key::{Algorithm, BadSignature, SignError, Signer, check_signature};

const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const SHA_256_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA_384_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA_512_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
/// Attributes of one signer.
const ATTRIBUTES: usize = 32;

/// Something that is not such a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CMS SignedData with one signer and signed attributes")]
pub struct BadSigned;

/// A message that was read. Nothing is proven before [`Signed::check`].
#[derive(Clone, Debug)]
pub struct Signed {
    /// Empty where there is none.
    pub content: Vec<u8>,
    content_type: ObjectIdentifier,
    /// The certificate among those that came with it which the signer names.
    pub signer: Holder,
    digest: ObjectIdentifier,
    /// The AlgorithmIdentifier of the signature, in DER.
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    /// The signed attributes under the tag of a SET: what was signed.
    signed: Vec<u8>,
    attributes: Vec<(ObjectIdentifier, Vec<u8>)>,
}

impl Signed {
    /// Reads ContentInfo { signedData } in DER.
    ///
    /// # Errors
    /// [`BadSigned`] where it is something else, or the signer's certificate is not in it.
    pub fn read(der: &[u8]) -> Result<Self, BadSigned> {
        split(der).map_err(|_| BadSigned)?.ok_or(BadSigned)
    }

    /// As [`Self::read`], of what is BER or DER.
    ///
    /// # Errors
    /// As there.
    pub fn read_ber(bytes: &[u8]) -> Result<Self, BadSigned> {
        Self::read(bytes).or_else(|bad| Self::read(&ber::to_der(bytes).ok_or(bad)?))
    }

    /// The first value of a signed attribute: the tag and the content of its element.
    pub(crate) fn attribute(&self, id: ObjectIdentifier) -> Option<(Tag, &[u8])> {
        let (_, values) = self.attributes.iter().find(|(found, _)| *found == id)?;
        let value = Walk::new(values).ok()?.next().ok()?;
        Some((value.tag, value.content))
    }

    /// Whether the key in the signer's certificate signed the attributes, and they the content.
    ///
    /// # Errors
    /// [`BadSignature`]: with an algorithm that is not accepted, or wrong.
    pub fn check(&self) -> Result<(), BadSignature> {
        let (hash, rsa) = match self.digest {
            SHA_256 => (&SHA256, SHA_256_RSA),
            SHA_384 => (&SHA384, SHA_384_RSA),
            SHA_512 => (&SHA512, SHA_512_RSA),
            _ => return Err(BadSignature::BrokenDigest),
        };
        let found = digest(hash, &self.content);
        let said = match self.attribute(MESSAGE_DIGEST) {
            Some((Tag::OctetString, said)) => said,
            _ => return Err(BadSignature::Wrong),
        };
        let typed = match self.attribute(CONTENT_TYPE) {
            Some((Tag::ObjectIdentifier, said)) => said == self.content_type.as_bytes(),
            _ => false,
        };
        if said != found.as_ref() || !typed {
            return Err(BadSignature::Wrong);
        }
        // RSA alone says nothing of a digest: it is the one beside it (RFC 3370 §3.2).
        let of_rsa = asn1::sequence(&[&asn1::oid(rsa), &asn1::NULL]);
        let algorithm = AlgorithmIdentifierRef::from_der(&self.algorithm).map_err(|_| BadSignature::Algorithm)?;
        let algorithm = if algorithm.oid == RSA {
            AlgorithmIdentifierRef::from_der(&of_rsa).map_err(|_| BadSignature::Algorithm)?
        } else {
            algorithm
        };
        check_signature(&self.signer.spki, &algorithm, &self.signed, &self.signature)
    }
}

fn split(der: &[u8]) -> der::Result<Option<Signed>> {
    let mut signed = super::enter(der, SIGNED_DATA)?;
    signed.expect(Tag::Integer)?;
    signed.expect(Tag::Set)?;
    let mut encapsulated = signed.enter(Tag::Sequence)?;
    let content_type = oid(&mut encapsulated)?;
    let content = match encapsulated.optional(context(TagNumber::N0))? {
        // PKCS#7 had anything here; CMS has an OCTET STRING, and so have all clients of SCEP.
        Some(explicit) => Walk::new(explicit.content)?.expect(Tag::OctetString)?.content.to_vec(),
        None => Vec::new(),
    };
    let mut holders = Vec::new();
    if let Some(set) = signed.optional(context(TagNumber::N0))? {
        let mut set = Walk::new(set.content)?;
        while !set.done() && holders.len() < LIST {
            let certificate = set.next()?;
            if certificate.tag == Tag::Sequence {
                holders.push(Holder::read(certificate.whole)?);
            }
        }
    }
    signed.optional(context(TagNumber::N1))?;
    let mut signers = signed.enter(Tag::Set)?;
    let mut info = signers.enter(Tag::Sequence)?;
    // Two signers would be two opinions about one message.
    signers.end()?;
    info.expect(Tag::Integer)?;
    let id = HolderId::read(&mut info)?;
    let digest = oid(&mut info.enter(Tag::Sequence)?)?;
    let Some(raw) = info.optional(context(TagNumber::N0))? else { return Ok(None) };
    let algorithm = info.expect(Tag::Sequence)?.whole.to_vec();
    let signature = info.expect(Tag::OctetString)?.content.to_vec();
    let Some(signer) = holders.into_iter().find(|holder| id.is(holder)) else { return Ok(None) };
    Ok(Some(Signed {
        content,
        content_type,
        signer,
        digest,
        algorithm,
        signature,
        signed: asn1::element(asn1::SET, &[raw.content]),
        attributes: attributes(raw.content)?,
    }))
}

fn attributes(raw: &[u8]) -> der::Result<Vec<(ObjectIdentifier, Vec<u8>)>> {
    let (mut walk, mut list) = (Walk::new(raw)?, Vec::new());
    while !walk.done() {
        let mut attribute = walk.enter(Tag::Sequence)?;
        let id = oid(&mut attribute)?;
        let values = attribute.expect(Tag::Set)?.content.to_vec();
        attribute.end()?;
        // The same attribute twice could be read in two ways (RFC 5652 §5.3 forbids it).
        if list.len() >= ATTRIBUTES || list.iter().any(|(known, _)| *known == id) {
            return Err(Tag::Set.value_error());
        }
        list.push((id, values));
    }
    Ok(list)
}

fn oid(walk: &mut Walk<'_>) -> der::Result<ObjectIdentifier> {
    ObjectIdentifier::from_der(walk.expect(Tag::ObjectIdentifier)?.whole)
}

/// An attribute with one value, in DER.
pub(crate) fn attribute(id: ObjectIdentifier, value: &[u8]) -> Vec<u8> {
    asn1::sequence(&[&asn1::oid(id), &asn1::element(asn1::SET, &[value])])
}

/// Signs `content` (empty in a message about nothing, RFC 8894 §3.2.2) together with attributes, as [`attribute`] makes
/// them. `certificates` go with it; the signer's own should be the first.
///
/// # Errors
/// [`SignError`] where the key does not sign.
pub(crate) fn sign(
    (holder, signer): (&Holder, &dyn Signer),
    certificates: &[&[u8]],
    content: &[u8],
    attributes: Vec<Vec<u8>>,
    now: Timestamp,
) -> Result<Vec<u8>, SignError> {
    let mut attributes = attributes;
    attributes.push(attribute(CONTENT_TYPE, &asn1::oid(DATA)));
    attributes.push(attribute(SIGNING_TIME, &asn1::time(now)));
    let hash = digest(&SHA256, content);
    attributes.push(attribute(MESSAGE_DIGEST, &asn1::octets(hash.as_ref())));
    // What is signed is DER, and DER sorts a SET OF (X.690 §11.6).
    attributes.sort();
    let attributes = attributes.concat();
    let signature = signer.sign(&asn1::element(asn1::SET, &[&attributes]))?;
    let digest_algorithm = asn1::sequence(&[&asn1::oid(SHA_256)]);
    let algorithm = match signer.algorithm() {
        // The form that OpenSSL writes and everybody reads.
        Algorithm::RsaPkcs1Sha256 => asn1::sequence(&[&asn1::oid(RSA), &asn1::NULL]),
        other => other.identifier(),
    };
    let info = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &holder.name(),
        &digest_algorithm,
        &asn1::element(0xa0, &[&attributes]),
        &algorithm,
        &asn1::octets(&signature),
    ]);
    let content = asn1::element(0xa0, &[&asn1::octets(content)]);
    let signed = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &asn1::element(asn1::SET, &[&digest_algorithm]),
        &asn1::sequence(&[&asn1::oid(DATA), &content]),
        &asn1::element(0xa0, certificates),
        &asn1::element(asn1::SET, &[&info]),
    ]);
    Ok(content_info(SIGNED_DATA, &signed))
}
