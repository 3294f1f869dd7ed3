//! Putting a certificate together and having it signed.
//!
//! The subject and the public key go in as the bytes that they are. Version 3, a positive serial number of 16 bytes, and
//! the key ids of subject and issuer are the same in every profile; [`crate::ca`] and [`crate::leaf`] add the rest.

use aws_lc_rs::digest::{SHA256, digest};
use base::{Rng, Timestamp};
use der::Decode;
use spki::SubjectPublicKeyInfoRef;
use std::fmt;

use fleetward_base as base;

use crate::asn1;
use crate::certificate::{AUTHORITY_KEY_ID, Certificate, SUBJECT_KEY_ID, fingerprint, hex};
use crate::key::{SignError, Signer};

/// A serial number, shown in lower-case hexadecimal without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// A new one: 126 random bits. The highest bit is clear, as it must be positive, and the next one set, so that all
    /// have one length (RFC 5280 §4.1.2.2 asks for at most 20 octets, CA/B for at least 64 random bits).
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut bytes = [0; 16];
        rng.fill(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first = (*first & 0x7f) | 0x40;
        }
        Self(bytes.to_vec())
    }

    /// More bytes than that, as RFC 5280 §4.1.2.2 allows none.
    pub(crate) fn is_longer_than(&self, bytes: usize) -> bool {
        self.0.len() > bytes
    }

    /// In decimal digits, as some authorities name it.
    pub fn to_decimal(&self) -> String {
        let mut digits = vec![0_u8];
        for byte in &self.0 {
            let mut carry = u32::from(*byte);
            for digit in &mut digits {
                let value = u32::from(*digit) * 256 + carry;
                *digit = u8::try_from(value % 10).expect("below ten");
                carry = value / 10;
            }
            while carry > 0 {
                digits.push(u8::try_from(carry % 10).expect("below ten"));
                carry /= 10;
            }
        }
        digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().skip_while(|byte| *byte == 0).collect())
    }

    /// The number that [`Display`](fmt::Display) shows; `None` where the text is not whole bytes in hexadecimal.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.is_empty() || !text.len().is_multiple_of(2) {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>().map(|bytes| Self::from_bytes(&bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// From when to when a certificate holds, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("the authority's own certificate is not valid for that time")]
    AuthorityExpired,
    #[error("the public key cannot be read")]
    PublicKey,
    #[error("the authority's certificate has no subject key identifier, or is none of an authority")]
    Authority,
    #[error("{0:?} is no name for a server")]
    ServerName(String),
}

/// A certificate that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub der: Vec<u8>,
    pub serial: Serial,
    /// SHA-256 in lower-case hexadecimal.
    pub fingerprint: String,
    pub validity: Validity,
}

/// An authority that signs: its certificate with its key.
#[derive(Clone, Copy)]
pub struct Issuer<'a> {
    pub(crate) certificate: &'a Certificate,
    pub(crate) signer: &'a dyn Signer,
}

impl<'a> Issuer<'a> {
    /// # Errors
    /// [`IssueError::Authority`] where the certificate is not that of an authority with this key.
    pub fn new(certificate: &'a Certificate, signer: &'a dyn Signer) -> Result<Self, IssueError> {
        let fits = certificate.is_authority
            && certificate.subject_key_id.is_some()
            && certificate.spki == signer.public_spki();
        if fits { Ok(Self { certificate, signer }) } else { Err(IssueError::Authority) }
    }

    /// What it signs with.
    pub fn signer(&self) -> &'a dyn Signer {
        self.signer
    }

    /// The wanted time cut to that of the authority: no leaf outlives who vouches for it.
    pub(crate) fn clamp(&self, wanted: Validity) -> Result<Validity, IssueError> {
        let not_before = Timestamp::max(wanted.not_before, self.certificate.not_before);
        let not_after = Timestamp::min(wanted.not_after, self.certificate.not_after);
        if not_before < not_after { Ok(Validity { not_before, not_after }) } else { Err(IssueError::AuthorityExpired) }
    }
}

/// What a certificate will say. `extensions` are finished, in the order they will have.
pub struct Template<'a> {
    pub serial: Serial,
    pub validity: Validity,
    pub subject: &'a [u8],
    pub spki: &'a [u8],
    pub extensions: Vec<Vec<u8>>,
}

/// Signs with an authority.
pub(crate) fn sign(template: Template<'_>, issuer: &Issuer<'_>) -> Result<Issued, IssueError> {
    let validity = issuer.clamp(template.validity)?;
    let key_id = issuer.certificate.subject_key_id.as_deref().ok_or(IssueError::Authority)?;
    let authority_key_id = asn1::sequence(&[&asn1::element(0x80, &[key_id])]);
    let mut extensions = template.extensions;
    extensions.push(asn1::extension(AUTHORITY_KEY_ID, false, &authority_key_id));
    let template = Template { validity, extensions, ..template };
    let own_id = self::key_id(template.spki)?;
    assemble(template, &issuer.certificate.subject, issuer.signer, &own_id)
}

/// Signs the name and key of another authority as they stand in its certificate, its key id included: whoever was
/// signed by that key names it by this id.
pub(crate) fn sign_cross(
    template: Template<'_>,
    issuer: &Issuer<'_>,
    subject_key_id: &[u8],
) -> Result<Issued, IssueError> {
    let validity = issuer.clamp(template.validity)?;
    let key_id = issuer.certificate.subject_key_id.as_deref().ok_or(IssueError::Authority)?;
    let authority_key_id = asn1::sequence(&[&asn1::element(0x80, &[key_id])]);
    let mut extensions = template.extensions;
    extensions.push(asn1::extension(AUTHORITY_KEY_ID, false, &authority_key_id));
    let template = Template { validity, extensions, ..template };
    assemble(template, &issuer.certificate.subject, issuer.signer, subject_key_id)
}

/// Signs with the certificate's own key: a root.
pub(crate) fn self_sign(template: Template<'_>, signer: &dyn Signer) -> Result<Issued, IssueError> {
    let name = template.subject;
    let own_id = key_id(template.spki)?;
    assemble(template, name, signer, &own_id)
}

fn assemble(
    template: Template<'_>,
    issuer_name: &[u8],
    signer: &dyn Signer,
    subject_key_id: &[u8],
) -> Result<Issued, IssueError> {
    let Template { serial, validity, subject, spki, mut extensions } = template;
    extensions.push(asn1::extension(SUBJECT_KEY_ID, false, &asn1::octets(subject_key_id)));
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let algorithm = signer.algorithm().identifier();
    let tbs = asn1::sequence(&[
        &asn1::element(0xa0, &[&asn1::unsigned(&[2])]),
        &asn1::unsigned(&serial.0),
        &algorithm,
        issuer_name,
        &asn1::sequence(&[&asn1::time(validity.not_before), &asn1::time(validity.not_after)]),
        subject,
        spki,
        &asn1::element(0xa3, &[&asn1::sequence(&extensions)]),
    ]);
    let signature = signer.sign(&tbs)?;
    let der = asn1::sequence(&[&tbs, &algorithm, &asn1::bits(&signature)]);
    Ok(Issued { fingerprint: fingerprint(&der), der, serial, validity: whole_seconds(validity) })
}

/// The key identifier: the first 160 bits of SHA-256 of the key (RFC 7093 §2, method 1).
pub fn key_id(spki_der: &[u8]) -> Result<Vec<u8>, IssueError> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki_der).map_err(|_| IssueError::PublicKey)?;
    let key = spki.subject_public_key.as_bytes().ok_or(IssueError::PublicKey)?;
    Ok(digest(&SHA256, key).as_ref().iter().copied().take(20).collect())
}

/// As the certificate says it, so that records and certificate are equal.
fn whole_seconds(validity: Validity) -> Validity {
    let cut = |at: Timestamp| Timestamp::from_secs(at.secs());
    Validity { not_before: cut(validity.not_before), not_after: cut(validity.not_after) }
}
