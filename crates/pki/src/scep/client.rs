//! The other end: asking, and reading the answer. For tests and simulated devices; ours enrol by EST.

use base::{Rng, Secret, Timestamp};
use const_oid::ObjectIdentifier;

use fleetward_base as base;

use super::answer::NONCE;
use super::{
    FAIL_INFO, FAIL_INFO_TEXT, FailInfo, MESSAGE_TYPE, MessageType, PKI_STATUS, RECIPIENT_NONCE, SENDER_NONCE,
    TRANSACTION_ID, nonce, printable,
};
use crate::asn1;
use crate::certificate::Certificate;
use crate::cms::enveloped::{Cipher, Enveloped, seal};
use crate::cms::signed::{Signed, attribute, sign};
use crate::cms::{Holder, certificates};
use crate::csr::CHALLENGE_PASSWORD;
use crate::issue::{self, IssueError, Serial, Template, Validity};
use crate::key::Signer;
use crate::rsa::RsaKey;

/// Who asks: a certificate, its own or one of ours, with its key.
pub struct Client<'a> {
    pub certificate: &'a Certificate,
    pub key: &'a RsaKey,
}

/// The answer, as far as it could be read.
#[derive(Debug)]
pub struct Answer {
    /// `0` success, `2` failure, `3` pending.
    pub status: String,
    pub fail_info: Option<FailInfo>,
    pub text: Option<String>,
    pub transaction_id: String,
    pub recipient_nonce: Vec<u8>,
    /// What was in the envelope: certificates, or the whole content where there are none.
    pub certificates: Vec<Vec<u8>>,
    pub content: Option<Secret<Vec<u8>>>,
}

/// A certificate that `signer` makes out to itself.
///
/// # Errors
/// [`IssueError`] where the key does not sign.
pub fn self_signed(
    subject: &[u8],
    serial: Serial,
    validity: Validity,
    signer: &dyn Signer,
) -> Result<Vec<u8>, IssueError> {
    let template = Template { serial, validity, subject, spki: signer.public_spki(), extensions: Vec::new() };
    Ok(issue::self_sign(template, signer)?.der)
}

/// A PKCS#10 with a challengePassword (RFC 2985 §5.4.1).
///
/// # Errors
/// [`IssueError`] where the key does not sign.
pub fn request(subject: &[u8], challenge: Option<&str>, signer: &dyn Signer) -> Result<Vec<u8>, IssueError> {
    let challenge = challenge.map(|text| attribute(CHALLENGE_PASSWORD, &asn1::utf8(text))).unwrap_or_default();
    let info =
        asn1::sequence(&[&asn1::unsigned(&[]), subject, signer.public_spki(), &asn1::element(0xa0, &[&challenge])]);
    let signature = signer.sign(&info)?;
    Ok(asn1::sequence(&[&info, &signer.algorithm().identifier(), &asn1::bits(&signature)]))
}

/// IssuerAndSubject, for a CertPoll (RFC 8894 §3.3.3).
pub fn poll_data(issuer: &[u8], subject: &[u8]) -> Vec<u8> {
    asn1::sequence(&[issuer, subject])
}

/// IssuerAndSerialNumber of a certificate, for a GetCert or GetCRL (RFC 8894 §3.3.4).
pub fn certificate_data(certificate: &Certificate) -> Vec<u8> {
    Holder::of(certificate).map(|holder| holder.name()).unwrap_or_default()
}

impl Client<'_> {
    /// A message with `data` for the holder of `recipient`, and the nonce in it.
    ///
    /// # Errors
    /// A text where a key does not sign or takes no messages.
    pub fn ask(
        &self,
        rng: &dyn Rng,
        now: Timestamp,
        recipient: &Certificate,
        kind: MessageType,
        transaction_id: &str,
        data: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), String> {
        let recipient = Holder::of(recipient).map_err(|error| error.to_string())?;
        let content = seal(rng, &recipient, Cipher::Aes128Cbc, data).map_err(|error| error.to_string())?;
        self.ask_with(rng, now, kind.as_str(), transaction_id, &content)
    }

    /// As [`Self::ask`], with a type and an envelope of the caller's own.
    ///
    /// # Errors
    /// A text where the key does not sign.
    pub fn ask_with(
        &self,
        rng: &dyn Rng,
        now: Timestamp,
        kind: &str,
        transaction_id: &str,
        envelope: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), String> {
        let mut sent = vec![0; NONCE];
        rng.fill(&mut sent);
        let text = |text: &str| asn1::element(asn1::PRINTABLE_STRING, &[text.as_bytes()]);
        let attributes = vec![
            attribute(MESSAGE_TYPE, &text(kind)),
            attribute(TRANSACTION_ID, &text(transaction_id)),
            attribute(SENDER_NONCE, &asn1::octets(&sent)),
        ];
        let holder = Holder::of(self.certificate).map_err(|error| error.to_string())?;
        let signer: (&Holder, &dyn Signer) = (&holder, self.key);
        let message = sign(signer, &[&self.certificate.der], envelope, attributes, now);
        Ok((message.map_err(|error| error.to_string())?, sent))
    }

    /// Reads the answer, if `authority` signed it.
    pub fn read(&self, bytes: &[u8], authority: &Certificate) -> Option<Answer> {
        let signed = Signed::read_ber(bytes).ok()?;
        if signed.check().is_err() || signed.signer.spki != authority.spki {
            return None;
        }
        let content = if signed.content.is_empty() {
            None
        } else {
            Some(Enveloped::read(&signed.content).ok()?.open(&Holder::of(self.certificate).ok()?, self.key))
        };
        Some(Answer {
            status: printable(&signed, PKI_STATUS, 8)?,
            fail_info: printable(&signed, FAIL_INFO, 8).and_then(|text| FailInfo::of(&text)),
            text: text(&signed, FAIL_INFO_TEXT),
            transaction_id: printable(&signed, TRANSACTION_ID, usize::MAX)?,
            recipient_nonce: nonce(&signed, RECIPIENT_NONCE)?,
            certificates: content.as_ref().and_then(|der| certificates(der.expose()).ok()).unwrap_or_default(),
            content,
        })
    }
}

fn text(signed: &Signed, id: ObjectIdentifier) -> Option<String> {
    String::from_utf8(signed.attribute(id)?.1.to_vec()).ok()
}
