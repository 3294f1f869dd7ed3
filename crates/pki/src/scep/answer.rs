//! CertRep: the answer to a message (RFC 8894 §3.3.2), and the answer to GetNextCACert (§4.7.1).

use base::{Rng, Timestamp};

use fleetward_base as base;

use super::{
    FAIL_INFO, FAIL_INFO_TEXT, MESSAGE_TYPE, Message, MessageType, PKI_STATUS, RECIPIENT_NONCE, Refused, SENDER_NONCE,
    TRANSACTION_ID,
};
use crate::asn1;
use crate::certificate::{BadCertificate, Certificate};
use crate::cms::enveloped::{Cipher, seal};
use crate::cms::signed::{attribute, sign};
use crate::cms::{Holder, certs_only, crl_only};
use crate::issue::Issuer;
use crate::key::{SignError, Signer};
use crate::rsa::{NotRsa, RsaKey};

/// The length of our nonces (RFC 8894 §3.2.1.5).
pub(super) const NONCE: usize = 16;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Seal(#[from] NotRsa),
}

/// Who answers: a registration authority with its key.
pub struct Responder {
    pub certificate: Certificate,
    holder: Holder,
    key: RsaKey,
}

impl Responder {
    /// # Errors
    /// [`BadCertificate`] where `der` is none, or of another key.
    pub fn new(der: &[u8], key: RsaKey) -> Result<Self, BadCertificate> {
        let certificate = Certificate::parse(der)?;
        if certificate.spki != key.public_spki() {
            return Err(BadCertificate::other_key());
        }
        let holder = Holder::of(&certificate)?;
        Ok(Self { certificate, holder, key })
    }

    /// As recipients and signers name it.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    pub fn key(&self) -> &RsaKey {
        &self.key
    }
}

/// What became of what was asked.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// Certificates in DER, the one that was asked for first.
    Certificates(&'a [&'a [u8]]),
    /// A certificate revocation list in DER.
    RevocationList(&'a [u8]),
    /// Somebody has to look at it first; the client polls.
    Pending,
    Failed(Refused),
}

/// Writes the answer to `message`. What there is to hand out is encrypted to the key with which it was asked for; a
/// failure and a wait have no content. `chain` goes with it, for clients that know only the root.
///
/// # Errors
/// [`AnswerError`] where the responder cannot sign, or the client's key takes no answer.
pub fn answer(
    rng: &dyn Rng,
    now: Timestamp,
    responder: &Responder,
    chain: &[&[u8]],
    message: &Message,
    cipher: Cipher,
    outcome: &Outcome<'_>,
) -> Result<Vec<u8>, AnswerError> {
    let printable = |text: &str| asn1::element(asn1::PRINTABLE_STRING, &[text.as_bytes()]);
    let mut nonce = [0; NONCE];
    rng.fill(&mut nonce);
    let status = match outcome {
        Outcome::Certificates(_) | Outcome::RevocationList(_) => "0",
        Outcome::Failed(_) => "2",
        Outcome::Pending => "3",
    };
    let mut attributes = vec![
        attribute(TRANSACTION_ID, &printable(&message.transaction_id)),
        attribute(MESSAGE_TYPE, &printable(MessageType::CertRep.as_str())),
        attribute(PKI_STATUS, &printable(status)),
        attribute(SENDER_NONCE, &asn1::octets(&nonce)),
        attribute(RECIPIENT_NONCE, &asn1::octets(&message.sender_nonce)),
    ];
    if let Outcome::Failed(refused) = outcome {
        attributes.push(attribute(FAIL_INFO, &printable(refused.info.as_str())));
        attributes.push(attribute(FAIL_INFO_TEXT, &asn1::utf8(&refused.text)));
    }
    let plain = match outcome {
        Outcome::Certificates(list) => Some(certs_only(list)),
        Outcome::RevocationList(crl) => Some(crl_only(crl)),
        Outcome::Pending | Outcome::Failed(_) => None,
    };
    // Without an envelope the content is there and empty: PKCS7_verify of OpenSSL checks no message that has none.
    let content = plain.map(|plain| seal(rng, message.signer(), cipher, &plain)).transpose()?.unwrap_or_default();
    let with: Vec<&[u8]> = std::iter::once(responder.certificate.der.as_slice()).chain(chain.iter().copied()).collect();
    Ok(sign((&responder.holder, &responder.key), &with, &content, attributes, now)?)
}

/// The authorities that come next, signed by the one that is still in use (RFC 8894 §4.7.1).
///
/// # Errors
/// [`SignError`] where its key does not sign.
pub fn next_authorities(issuer: &Issuer<'_>, next: &[&[u8]], now: Timestamp) -> Result<Vec<u8>, SignError> {
    let holder = Holder::of(issuer.certificate).map_err(|error| SignError(error.to_string()))?;
    sign((&holder, issuer.signer), &[&issuer.certificate.der], &certs_only(next), Vec::new(), now)
}
