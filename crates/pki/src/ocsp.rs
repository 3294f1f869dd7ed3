//! OCSP (RFC 6960 in the profile of RFC 5019 and RFC 9654): reading requests, writing answers.
//!
//! A request names certificates by hashes of their issuer's name and key and by serial number. The identifier goes back
//! into the answer as the bytes that it came as, so that a client that asks with SHA-1 (OpenSSL does) is answered with
//! SHA-1. Signatures on requests are not looked at: anybody may ask. A request that is too long, or that asks for nothing
//! or for too much, is malformed.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base::{Timestamp, limits};
use const_oid::ObjectIdentifier;
use der::asn1::{OctetStringRef, UintRef};
use der::{Decode, Header, Reader, SliceReader, TagNumber};
use spki::SubjectPublicKeyInfoRef;
use x509_cert::ext::Extensions;

use fleetward_base as base;

use crate::asn1;
use crate::certificate::Certificate;
use crate::crl::Reason;
use crate::issue::{IssueError, Serial};
use crate::key::Signer;

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// Lengths of a nonce that are no mistake, and those that are repeated; others are answered without one (RFC 9654 §2.1).
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 1..=128;
const NONCE_REPEATED: std::ops::RangeInclusive<usize> = 1..=32;

/// Bytes that are no request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an OCSP request")]
pub struct BadRequest;

/// The hash that names an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IssuerHash {
    Sha1,
    Sha256,
    /// Of a kind that nobody here is known by.
    Other,
}

/// A certificate that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertId {
    /// The CertID in DER, as it came.
    pub der: Vec<u8>,
    pub hash: IssuerHash,
    name_hash: Vec<u8>,
    key_hash: Vec<u8>,
    pub serial: Serial,
}

impl CertId {
    /// # Errors
    /// [`BadRequest`] where it is no CertID, or more than one.
    pub fn parse(der: &[u8]) -> Result<Self, BadRequest> {
        read_id(der).map_err(|_| BadRequest)
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub certificates: Vec<CertId>,
    /// To be repeated in an answer that is made for this request alone.
    pub nonce: Option<Vec<u8>>,
}

impl Request {
    /// # Errors
    /// [`BadRequest`] where it is none, asks for nothing, or for more than `limits::OCSP_CERTIFICATES`.
    pub fn parse(der: &[u8]) -> Result<Self, BadRequest> {
        if der.len() > limits::OCSP_REQUEST_BYTES {
            return Err(BadRequest);
        }
        read(der).map_err(|_| BadRequest)?
    }
}

fn context(number: TagNumber) -> der::Tag {
    der::Tag::ContextSpecific { constructed: true, number }
}

fn read(der: &[u8]) -> der::Result<Result<Request, BadRequest>> {
    let mut outer = SliceReader::new(der)?;
    let request = outer.sequence(|outer| {
        let request = outer.sequence(read_tbs)?;
        // The optional signature: anybody may ask.
        if !outer.is_finished() {
            let header = outer.peek_header()?;
            header.tag.assert_eq(context(TagNumber::N0))?;
            outer.tlv_bytes()?;
        }
        Ok(request)
    })?;
    outer.finish(request)
}

fn read_tbs<'a>(tbs: &mut impl Reader<'a>) -> der::Result<Result<Request, BadRequest>> {
    if tbs.peek_header()?.tag == context(TagNumber::N0) {
        let version = tbs.context_specific::<u8>(TagNumber::N0, der::TagMode::Explicit)?;
        if version != Some(0) {
            return Ok(Err(BadRequest));
        }
    }
    if tbs.peek_header()?.tag == context(TagNumber::N1) {
        tbs.tlv_bytes()?;
    }
    let certificates = tbs.sequence(|list| {
        let mut certificates = Vec::new();
        while !list.is_finished() {
            if certificates.len() >= limits::OCSP_CERTIFICATES {
                return Err(der::Tag::Sequence.length_error());
            }
            certificates.push(list.sequence(read_single)?);
        }
        Ok(certificates)
    })?;
    let mut nonce = None;
    if !tbs.is_finished() {
        let extensions: Option<Extensions> = tbs.context_specific(TagNumber::N2, der::TagMode::Explicit)?;
        for extension in extensions.unwrap_or_default().iter().filter(|extension| extension.extn_id == NONCE) {
            nonce = Some(OctetStringRef::from_der(extension.extn_value.as_bytes())?.as_bytes().to_vec());
        }
    }
    if certificates.is_empty() || nonce.as_ref().is_some_and(|nonce| !NONCE_BYTES.contains(&nonce.len())) {
        return Ok(Err(BadRequest));
    }
    Ok(Ok(Request { certificates, nonce: nonce.filter(|nonce| NONCE_REPEATED.contains(&nonce.len())) }))
}

fn read_single<'a>(single: &mut impl Reader<'a>) -> der::Result<CertId> {
    let der = single.tlv_bytes()?;
    // Extensions of a single request ask for what is not offered here (RFC 6960 §4.4.6).
    if !single.is_finished() {
        single.peek_header()?.tag.assert_eq(context(TagNumber::N0))?;
        single.tlv_bytes()?;
    }
    read_id(der)
}

fn read_id(der: &[u8]) -> der::Result<CertId> {
    let mut inner = SliceReader::new(der)?;
    let id = inner.sequence(|id| {
        let algorithm = id.sequence(|algorithm| {
            let oid = ObjectIdentifier::decode(algorithm)?;
            // Parameters: NULL or nothing; neither says anything.
            if !algorithm.is_finished() {
                Header::decode(algorithm)?.tag.assert_eq(der::Tag::Null)?;
            }
            Ok(oid)
        })?;
        let hash = match algorithm {
            SHA1 => IssuerHash::Sha1,
            SHA256_OID => IssuerHash::Sha256,
            _ => IssuerHash::Other,
        };
        let name_hash = OctetStringRef::decode(id)?.as_bytes().to_vec();
        let key_hash = OctetStringRef::decode(id)?.as_bytes().to_vec();
        let serial = Serial::from_bytes(UintRef::decode(id)?.as_bytes());
        Ok(CertId { der: der.to_vec(), hash, name_hash, key_hash, serial })
    })?;
    inner.finish(id)
}

/// How an authority is named in requests.
#[derive(Clone, Debug)]
pub struct IssuerNames {
    sha1: [Vec<u8>; 2],
    sha256: [Vec<u8>; 2],
}

impl IssuerNames {
    /// # Errors
    /// [`IssueError::PublicKey`] where the authority's key cannot be read.
    pub fn of(authority: &Certificate) -> Result<Self, IssueError> {
        let key = key_bits(&authority.spki)?;
        let both = |algorithm| [&authority.subject, &key].map(|of| digest(algorithm, of).as_ref().to_vec());
        Ok(Self { sha1: both(&SHA1_FOR_LEGACY_USE_ONLY), sha256: both(&SHA256) })
    }

    /// The CertID of a certificate of this authority, with SHA-1 as everybody reads it.
    pub fn cert_id(&self, serial: &Serial) -> Vec<u8> {
        let [name, key] = &self.sha1;
        let algorithm = asn1::sequence(&[&asn1::oid(SHA1), &asn1::NULL]);
        asn1::sequence(&[&algorithm, &asn1::octets(name), &asn1::octets(key), &asn1::unsigned(serial.as_bytes())])
    }

    /// Whether the certificate that is asked for would be one of this authority.
    pub fn issued(&self, id: &CertId) -> bool {
        let [name, key] = match id.hash {
            IssuerHash::Sha1 => &self.sha1,
            IssuerHash::Sha256 => &self.sha256,
            IssuerHash::Other => return false,
        };
        *name == id.name_hash && *key == id.key_hash
    }
}

fn key_bits(spki: &[u8]) -> Result<Vec<u8>, IssueError> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| IssueError::PublicKey)?;
    Ok(spki.subject_public_key.as_bytes().ok_or(IssueError::PublicKey)?.to_vec())
}

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Good,
    Revoked {
        at: Timestamp,
        reason: Reason,
    },
    /// Nobody here issued it.
    Unknown,
}

/// One line of an answer: a CertID in DER and how it stands.
#[derive(Clone, Copy, Debug)]
pub struct Single<'a> {
    pub id: &'a [u8],
    pub standing: Standing,
}

/// Who answers: its certificate with its key.
#[derive(Clone, Copy)]
pub struct Responder<'a> {
    pub certificate: &'a Certificate,
    pub signer: &'a dyn Signer,
}

/// Signs an answer. It holds from `this_update` to `next_update`.
///
/// # Errors
/// [`IssueError`] where the responder does not sign.
pub fn answer(
    singles: &[Single<'_>],
    responder: &Responder<'_>,
    (this_update, next_update): (Timestamp, Timestamp),
    nonce: Option<&[u8]>,
) -> Result<Vec<u8>, IssueError> {
    let lines: Vec<Vec<u8>> = singles.iter().map(|single| line(single, this_update, next_update)).collect();
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let key = key_bits(&responder.certificate.spki)?;
    // byKey: SHA-1 of the responder's key (RFC 6960 §4.2.1), whatever certificates are asked for with.
    let by_key = asn1::element(0xa2, &[&asn1::octets(digest(&SHA1_FOR_LEGACY_USE_ONLY, &key).as_ref())]);
    let extensions = nonce.map(|nonce| {
        let extension = asn1::extension(NONCE, false, &asn1::octets(nonce));
        asn1::element(0xa1, &[&asn1::sequence(&[&extension])])
    });
    let tbs = asn1::sequence(&[
        &by_key,
        &asn1::generalized_time(this_update),
        &asn1::sequence(&lines),
        &extensions.unwrap_or_default(),
    ]);
    let signature = responder.signer.sign(&tbs)?;
    let basic = asn1::sequence(&[
        &tbs,
        &responder.signer.algorithm().identifier(),
        &asn1::bits(&signature),
        &asn1::element(0xa0, &[&asn1::sequence(&[&responder.certificate.der])]),
    ]);
    let bytes = asn1::sequence(&[&asn1::oid(BASIC), &asn1::octets(&basic)]);
    Ok(asn1::sequence(&[&asn1::element(asn1::ENUMERATED, &[&[0]]), &asn1::element(0xa0, &[&bytes])]))
}

fn line(single: &Single<'_>, this_update: Timestamp, next_update: Timestamp) -> Vec<u8> {
    let standing = match single.standing {
        Standing::Good => asn1::element(0x80, &[]),
        Standing::Unknown => asn1::element(0x82, &[]),
        Standing::Revoked { at, reason } => {
            let reason = match reason {
                Reason::Unspecified => Vec::new(),
                reason => asn1::element(0xa0, &[&asn1::element(asn1::ENUMERATED, &[&[reason.code()]])]),
            };
            asn1::element(0xa1, &[&asn1::generalized_time(at), &reason])
        }
    };
    let next = asn1::element(0xa0, &[&asn1::generalized_time(next_update)]);
    asn1::sequence(&[single.id, &standing, &asn1::generalized_time(this_update), &next])
}

/// The CertID of a certificate of `authority`, with SHA-1 as everybody reads it.
///
/// # Errors
/// [`IssueError::PublicKey`] where the authority's key cannot be read.
pub fn cert_id(authority: &Certificate, serial: &Serial) -> Result<Vec<u8>, IssueError> {
    Ok(IssuerNames::of(authority)?.cert_id(serial))
}

/// Why there is no answer (RFC 6960 §4.2.1, OCSPResponseStatus). Such a response is not signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    MalformedRequest,
    InternalError,
    TryLater,
    /// Not asked of the right one: none of the certificates is of this authority.
    Unauthorized,
}

impl Refused {
    pub fn response(self) -> Vec<u8> {
        let code = match self {
            Self::MalformedRequest => 1,
            Self::InternalError => 2,
            Self::TryLater => 3,
            Self::Unauthorized => 6,
        };
        asn1::sequence(&[&asn1::element(asn1::ENUMERATED, &[&[code]])])
    }
}

#[cfg(test)]
mod tests;
