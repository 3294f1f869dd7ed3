//! The authority of a factory: whether it is one, and whether who registers it holds its key.
//!
//! Possession is shown as AWS has it: the authority signs a certificate whose common name is a code that was given out. Of
//! that certificate only the signature and the name count; it may be of version 1, as `openssl x509 -req` writes it.

use base::Timestamp;
use der::asn1::BitStringRef;
use der::{Decode, Reader, SliceReader, Tag, TagNumber};
use spki::AlgorithmIdentifierRef;

use fleetward_base as base;

use crate::certificate::{BadCertificate, Certificate};
use crate::key::{self, WeakKey};
use crate::name;

/// Why an authority is not taken. The texts go back to who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactoryError {
    #[error(transparent)]
    Malformed(#[from] BadCertificate),
    #[error(transparent)]
    Key(#[from] WeakKey),
    #[error("the certificate is not that of an authority (basicConstraints CA:TRUE is missing)")]
    NoAuthority,
    #[error("the certificate's keyUsage has no keyCertSign: its key does not sign certificates")]
    NoSigner,
    #[error("the certificate is not valid at this time")]
    Time,
    #[error("the verification certificate cannot be read")]
    Verification,
    #[error("the verification certificate's common name is not the registration code")]
    Code,
    #[error("the verification certificate was not signed by this authority's key")]
    Signature,
}

/// Reads the certificate of an authority that holds at `now`.
///
/// # Errors
/// [`FactoryError`] says what is wrong with it.
pub fn authority(der: &[u8], now: Timestamp) -> Result<Certificate, FactoryError> {
    let certificate = Certificate::parse(der)?;
    if !certificate.is_authority {
        return Err(FactoryError::NoAuthority);
    }
    if !certificate.may_sign_certificates() {
        return Err(FactoryError::NoSigner);
    }
    if now < certificate.not_before || now > certificate.not_after {
        return Err(FactoryError::Time);
    }
    key::judge(&certificate.spki)?;
    Ok(certificate)
}

/// The code that a verification certificate carries, once its signature was found to be the authority's.
///
/// # Errors
/// [`FactoryError::Verification`], [`FactoryError::Signature`] or [`FactoryError::Code`].
pub fn proven_code(authority: &Certificate, verification: &[u8]) -> Result<String, FactoryError> {
    let parts = split(verification).map_err(|_| FactoryError::Verification)?;
    let signature = parts.signature.as_bytes().ok_or(FactoryError::Verification)?;
    key::check_signature(&authority.spki, &parts.algorithm, parts.tbs, signature)
        .map_err(|_| FactoryError::Signature)?;
    let names = name::read(parts.subject).map_err(|_| FactoryError::Verification)?;
    match names.common_names.as_slice() {
        [code] => Ok(code.clone()),
        _ => Err(FactoryError::Code),
    }
}

/// What a signature is about, and the signature.
pub(crate) struct Parts<'a> {
    pub(crate) tbs: &'a [u8],
    subject: &'a [u8],
    pub(crate) algorithm: AlgorithmIdentifierRef<'a>,
    pub(crate) signature: BitStringRef<'a>,
}

pub(crate) fn split(der: &[u8]) -> der::Result<Parts<'_>> {
    let mut outer = SliceReader::new(der)?;
    let (tbs, algorithm, signature) = outer.sequence(|outer| {
        Ok((outer.tlv_bytes()?, AlgorithmIdentifierRef::decode(outer)?, BitStringRef::decode(outer)?))
    })?;
    outer.finish(())?;
    let header = SliceReader::new(tbs)?.peek_header()?;
    header.tag.assert_eq(Tag::Sequence)?;
    let start = tbs.len().saturating_sub(usize::try_from(header.length)?);
    let mut inner = SliceReader::new(tbs.get(start..).unwrap_or_default())?;
    let version = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
    if inner.peek_header()?.tag == version {
        inner.tlv_bytes()?;
    }
    // serialNumber, signature, issuer, validity
    for _ in 0..4 {
        inner.tlv_bytes()?;
    }
    Ok(Parts { tbs, subject: inner.tlv_bytes()?, algorithm, signature })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at() -> Timestamp {
        Timestamp::from_secs(1_795_171_980)
    }

    fn issuer(authority: bool) -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        if authority {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        }
        rcgen::CertifiedIssuer::self_signed(params, key).expect("signs")
    }

    fn verification(issuer: &rcgen::CertifiedIssuer<'static, rcgen::KeyPair>, code: &str) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, code);
        let key = rcgen::KeyPair::generate().expect("a key");
        params.signed_by(&key, issuer).expect("signs").der().to_vec()
    }

    #[test]
    fn who_holds_the_key_says_the_code() {
        let (own, other) = (issuer(true), issuer(true));
        let certificate = authority(own.der(), at()).expect("an authority");
        assert_eq!(proven_code(&certificate, &verification(&own, "c0de")), Ok("c0de".to_owned()));
        assert_eq!(proven_code(&certificate, &verification(&other, "c0de")), Err(FactoryError::Signature));
        assert_eq!(proven_code(&certificate, b"x"), Err(FactoryError::Verification));
        let mut cut = verification(&own, "c0de");
        cut.pop();
        assert_eq!(proven_code(&certificate, &cut), Err(FactoryError::Verification));
    }

    #[test]
    fn what_is_no_authority() {
        assert_eq!(authority(issuer(false).der(), at()).err(), Some(FactoryError::NoAuthority));
        assert_eq!(authority(issuer(true).der(), Timestamp::from_secs(99_999_999_999)).err(), Some(FactoryError::Time));
        assert!(matches!(authority(b"x", at()), Err(FactoryError::Malformed(_))));
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let signs_nothing = params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("signs");
        assert_eq!(authority(signs_nothing.der(), at()).err(), Some(FactoryError::NoSigner));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(split(&bytes).is_err());
        }
    }
}
