//! SCEP's pkiMessage (RFC 8894 §3): a SignedData about an EnvelopedData, read, opened and answered.
//!
//! ```text
//! bytes --read--> Message --check--> Genuine (its signer holds the key of its certificate) --open--> Asks
//! ```
//! Reading gives what an answer needs (transaction, nonce, who asks), so that everything after it can be refused in the
//! protocol's own words. DES, 3DES, MD5 and SHA-1 are `badAlg`. What does not decrypt reads as noise, and noise is told
//! apart from a mere mistake by nobody: both are `badMessageCheck` with one text. Whose certificate the signer's is, and
//! whether a challenge is worth anything, is decided by `fleetward_app`.

mod answer;
pub mod client;

use const_oid::ObjectIdentifier;
use der::Tag;

use fleetward_base::limits::{SCEP_NONCE_BYTES, SCEP_TRANSACTION_ID_BYTES};

pub use answer::{AnswerError, Outcome, Responder, answer, next_authorities};

use crate::cms::enveloped::{Cipher, EnvelopeError, Enveloped};
use crate::cms::signed::Signed;
use crate::cms::{Holder, walk};
use crate::csr::{self, Csr, CsrError};
use crate::issue::Serial;
use crate::key::BadSignature;
use crate::rsa::{self, RsaKey};

/// Attributes of SCEP, RFC 8894 §3.2.1; VeriSign's arc.
const MESSAGE_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.2");
const PKI_STATUS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.3");
const FAIL_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.4");
const SENDER_NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.5");
const RECIPIENT_NONCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.6");
const TRANSACTION_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.113733.1.9.7");
const FAIL_INFO_TEXT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.24.1");

/// What a message asks for (RFC 8894 §3.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    CertRep,
    RenewalReq,
    PkcsReq,
    CertPoll,
    GetCert,
    GetCrl,
}

impl MessageType {
    fn of(text: &str) -> Option<Self> {
        match text {
            "3" => Some(Self::CertRep),
            "17" => Some(Self::RenewalReq),
            "19" => Some(Self::PkcsReq),
            "20" => Some(Self::CertPoll),
            "21" => Some(Self::GetCert),
            "22" => Some(Self::GetCrl),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::CertRep => "3",
            Self::RenewalReq => "17",
            Self::PkcsReq => "19",
            Self::CertPoll => "20",
            Self::GetCert => "21",
            Self::GetCrl => "22",
        }
    }
}

/// Why a message fails, in the five words that SCEP has (RFC 8894 §3.2.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailInfo {
    BadAlg,
    BadMessageCheck,
    BadRequest,
    BadTime,
    BadCertId,
}

impl FailInfo {
    const fn as_str(self) -> &'static str {
        match self {
            Self::BadAlg => "0",
            Self::BadMessageCheck => "1",
            Self::BadRequest => "2",
            Self::BadTime => "3",
            Self::BadCertId => "4",
        }
    }

    fn of(text: &str) -> Option<Self> {
        [Self::BadAlg, Self::BadMessageCheck, Self::BadRequest, Self::BadTime, Self::BadCertId]
            .into_iter()
            .find(|info| info.as_str() == text)
    }
}

/// A message that is refused: SCEP's word for it and ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    pub info: FailInfo,
    pub text: String,
}

impl Refused {
    pub fn new(info: FailInfo, text: impl Into<String>) -> Self {
        Self { info, text: text.into() }
    }

    /// The one answer to whatever does not open to something that can be read.
    fn unreadable() -> Self {
        Self::new(FailInfo::BadMessageCheck, "the message cannot be opened, or is not what its type says")
    }
}

impl From<CsrError> for Refused {
    fn from(error: CsrError) -> Self {
        match error {
            // An envelope that was altered in its middle gives a request whose signature does not hold.
            CsrError::Malformed | CsrError::Signature(BadSignature::Wrong) => Self::unreadable(),
            CsrError::Key(_) | CsrError::Signature(_) => Self::new(FailInfo::BadAlg, error.to_string()),
            _ => Self::new(FailInfo::BadRequest, error.to_string()),
        }
    }
}

/// Bytes that are no pkiMessage: there is nothing in them that an answer could name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a SCEP pkiMessage")]
pub struct BadMessage;

/// A message as it came. Nothing is proven yet.
#[derive(Clone, Debug)]
pub struct Message {
    signed: Signed,
    /// `None` for a type that RFC 8894 does not have.
    pub kind: Option<MessageType>,
    pub transaction_id: String,
    pub sender_nonce: Vec<u8>,
}

impl Message {
    /// Reads a message; the caller has held it to a limit.
    ///
    /// # Errors
    /// [`BadMessage`] where it is none, or has no transaction or nonce that could be named in an answer.
    pub fn read(bytes: &[u8]) -> Result<Self, BadMessage> {
        let signed = Signed::read_ber(bytes).map_err(|_| BadMessage)?;
        let transaction_id = printable(&signed, TRANSACTION_ID, SCEP_TRANSACTION_ID_BYTES).ok_or(BadMessage)?;
        let sender_nonce = nonce(&signed, SENDER_NONCE).ok_or(BadMessage)?;
        let kind = printable(&signed, MESSAGE_TYPE, 8).ok_or(BadMessage)?;
        Ok(Self { kind: MessageType::of(&kind), transaction_id, sender_nonce, signed })
    }

    /// The certificate that it was signed with, unless it was not.
    pub fn signer(&self) -> &Holder {
        &self.signed.signer
    }

    /// Whether its signer holds the key of the certificate that it shows.
    ///
    /// # Errors
    /// [`Refused`]: `badAlg` for an algorithm that is not accepted, `badMessageCheck` for a signature that does not hold.
    pub fn check(&self) -> Result<Genuine<'_>, Refused> {
        self.signed.check().map_err(|error| match error {
            BadSignature::Wrong => Refused::new(FailInfo::BadMessageCheck, "the message's signature does not hold"),
            BadSignature::BrokenDigest | BadSignature::Algorithm => {
                Refused::new(FailInfo::BadAlg, "sign with SHA-256, SHA-384 or SHA-512")
            }
        })?;
        let envelope = Enveloped::read_ber(&self.signed.content).map_err(|error| match error {
            EnvelopeError::Malformed => Refused::unreadable(),
            EnvelopeError::Algorithm => Refused::new(FailInfo::BadAlg, error.to_string()),
        })?;
        // What could not be answered in the end is refused before anything is done for it.
        if !rsa::wraps(&self.signer().spki) {
            return Err(Refused::new(FailInfo::BadAlg, rsa::NotRsa.to_string()));
        }
        Ok(Genuine { message: self, envelope })
    }
}

fn printable(signed: &Signed, id: ObjectIdentifier, limit: usize) -> Option<String> {
    let (tag, text) = signed.attribute(id)?;
    let string = matches!(tag, Tag::PrintableString | Tag::Utf8String | Tag::Ia5String);
    let good = string && (1..=limit).contains(&text.len()) && text.iter().all(|byte| (0x20..0x7f).contains(byte));
    if good { String::from_utf8(text.to_vec()).ok() } else { None }
}

fn nonce(signed: &Signed, id: ObjectIdentifier) -> Option<Vec<u8>> {
    match signed.attribute(id)? {
        // 16 bytes, says RFC 8894 §3.2.1.5; clients that are older than it send others.
        (Tag::OctetString, nonce) if (1..=SCEP_NONCE_BYTES).contains(&nonce.len()) => Some(nonce.to_vec()),
        _ => None,
    }
}

/// A message whose signer holds the key that it shows. What is in it is still closed.
#[derive(Debug)]
pub struct Genuine<'a> {
    message: &'a Message,
    envelope: Enveloped,
}

/// What a message asks for.
#[derive(Debug)]
pub enum Asks {
    /// A certificate: the request, and its bytes.
    Certificate(Box<Csr>, Vec<u8>),
    /// What became of a request: the issuer's and the subject's Names in DER.
    Poll { issuer: Vec<u8>, subject: Vec<u8> },
    /// A certificate that was issued, by its issuer's Name in DER and its serial number.
    IssuedCertificate { issuer: Vec<u8>, serial: Serial },
    /// The list of revoked certificates on which this one would stand.
    RevocationList { issuer: Vec<u8>, serial: Serial },
}

impl Genuine<'_> {
    /// Whether it was sealed for the holder of this certificate.
    pub fn is_for(&self, holder: &Holder) -> bool {
        self.envelope.is_for(holder)
    }

    /// The cipher that the client knows.
    pub fn cipher(&self) -> Cipher {
        self.envelope.cipher
    }

    /// What is in it, opened with the key of `holder`.
    ///
    /// # Errors
    /// [`Refused`]: `badMessageCheck` for what does not open or read, which are one; `badAlg` and `badRequest` for a
    /// certificate request that breaks a rule.
    pub fn open(&self, holder: &Holder, key: &RsaKey) -> Result<Asks, Refused> {
        let content = self.envelope.open(holder, key);
        let content = content.expose();
        match self.message.kind {
            Some(MessageType::PkcsReq | MessageType::RenewalReq) => {
                let csr = csr::parse(content)?;
                Ok(Asks::Certificate(Box::new(csr), content.clone()))
            }
            Some(MessageType::CertPoll) => {
                let (issuer, subject) = two(content, Tag::Sequence).map_err(|_| Refused::unreadable())?;
                Ok(Asks::Poll { issuer, subject })
            }
            Some(MessageType::GetCert) => {
                let (issuer, serial) = issued(content).map_err(|_| Refused::unreadable())?;
                Ok(Asks::IssuedCertificate { issuer, serial })
            }
            Some(MessageType::GetCrl) => {
                let (issuer, serial) = issued(content).map_err(|_| Refused::unreadable())?;
                Ok(Asks::RevocationList { issuer, serial })
            }
            Some(MessageType::CertRep) | None => {
                Err(Refused::new(FailInfo::BadRequest, "messages of this type are not answered"))
            }
        }
    }
}

/// SEQUENCE { Name, second }, both whole.
fn two(der: &[u8], second: Tag) -> der::Result<(Vec<u8>, Vec<u8>)> {
    let mut walk = walk::only(der, Tag::Sequence)?;
    let first = walk.expect(Tag::Sequence)?.whole.to_vec();
    let second = walk.expect(second)?.whole.to_vec();
    walk.end()?;
    Ok((first, second))
}

fn issued(der: &[u8]) -> der::Result<(Vec<u8>, Serial)> {
    let (issuer, serial) = two(der, Tag::Integer)?;
    let content = walk::Walk::new(&serial)?.next()?.content.to_vec();
    Ok((issuer, Serial::from_bytes(&content)))
}

#[cfg(test)]
mod tests;
