//! A certificate that was read: the parts that issuing, trust and records need, as the bytes they came as.
//!
//! Reading proves nothing; [`crate::trust`] does. A version 1 certificate, which has no extensions, is refused.

use aws_lc_rs::digest::{SHA256, digest};
use base::{TenantId, Timestamp};
use const_oid::ObjectIdentifier;
use der::asn1::{BitStringRef, UintRef};
use der::{Decode, Reader, SliceReader, TagNumber};
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, SubjectAltName, SubjectKeyIdentifier};
use x509_cert::time::Validity as X509Validity;

use fleetward_base as base;

use crate::identity::{ClaimName, Identity, UnboundName};
use crate::issue::Serial;

pub(crate) const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(crate) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(crate) const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
pub(crate) const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
pub(crate) const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// What cannot be read as a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 version 3 certificate: {0}")]
pub struct BadCertificate(pub(crate) String);

impl BadCertificate {
    pub(crate) fn other_key() -> Self {
        Self("its key is another".to_owned())
    }
}

/// A certificate that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub der: Vec<u8>,
    pub serial: Serial,
    /// The issuer's Name in DER.
    pub issuer: Vec<u8>,
    /// The subject's Name in DER.
    pub subject: Vec<u8>,
    /// The public key as a SubjectPublicKeyInfo in DER.
    pub spki: Vec<u8>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub subject_key_id: Option<Vec<u8>>,
    pub authority_key_id: Option<Vec<u8>>,
    pub alt_names: Vec<AltName>,
    pub is_authority: bool,
    /// How many authorities may stand between it and a leaf; no limit where there is none.
    pub(crate) path_length: Option<u8>,
    pub(crate) key_usage: Option<KeyUsage>,
}

/// A name of subjectAltName.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    Dns(String),
    Uri(String),
    /// Of a kind that no device has.
    Other,
}

impl Certificate {
    /// # Errors
    /// [`BadCertificate`] where it is no X.509 version 3 certificate in DER, with nothing after it.
    pub fn parse(der: &[u8]) -> Result<Self, BadCertificate> {
        read(der).map_err(|error| BadCertificate(error.to_string()))
    }

    /// SHA-256 of the certificate, in lower-case hexadecimal.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.der)
    }

    /// The device that it speaks of: its one name of the form `urn:fleetward:TENANT:DEVICE`. `None` where there is none,
    /// or more than one name. As a dNSName too, where it can mean no host: cfssl before 1.4 has no other kind for it.
    pub fn identity(&self) -> Option<Identity> {
        match self.alt_names.as_slice() {
            [AltName::Uri(name) | AltName::Dns(name)] => name.parse().ok(),
            _ => None,
        }
    }

    /// The claim that it speaks of, where its one name is `urn:fleetward-claim:TENANT:NAME`.
    pub fn claim(&self) -> Option<ClaimName> {
        match self.alt_names.as_slice() {
            [AltName::Uri(uri)] => uri.parse().ok(),
            _ => None,
        }
    }

    /// All extensions, by id and value; empty where they cannot be read, which [`Self::parse`] has ruled out.
    pub fn extensions(&self) -> Vec<(ObjectIdentifier, Vec<u8>)> {
        let extensions =
            x509_cert::Certificate::from_der(&self.der).ok().and_then(|read| read.tbs_certificate.extensions);
        let extensions = extensions.unwrap_or_default().into_iter();
        extensions.map(|extension| (extension.extn_id, extension.extn_value.into_bytes())).collect()
    }

    /// What it is called where it names no device: its one name is `urn:fleetward-certificate:TENANT:ID`.
    pub fn unbound(&self) -> Option<UnboundName> {
        match self.alt_names.as_slice() {
            [AltName::Uri(uri)] => uri.parse().ok(),
            _ => None,
        }
    }

    /// Whether its key may sign certificates (RFC 5280 §4.2.1.3): it says so, or says nothing of its use.
    pub(crate) fn may_sign_certificates(&self) -> bool {
        self.key_usage.is_none_or(|usage| usage.key_cert_sign())
    }

    /// The tenant of [`Self::identity`].
    pub fn tenant(&self) -> Option<TenantId> {
        self.identity().map(|identity| identity.tenant)
    }
}

/// SHA-256 of a certificate in DER, in lower-case hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    hex(digest(&SHA256, der).as_ref())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}

fn read(der: &[u8]) -> der::Result<Certificate> {
    let mut outer = SliceReader::new(der)?;
    let certificate = outer.sequence(|outer| {
        let certificate = outer.sequence(|tbs| read_tbs(tbs, der))?;
        outer.tlv_bytes()?;
        BitStringRef::decode(outer)?;
        Ok(certificate)
    })?;
    outer.finish(certificate)
}

fn read_tbs<'a>(tbs: &mut impl Reader<'a>, der: &[u8]) -> der::Result<Certificate> {
    let version = tbs.context_specific::<u8>(TagNumber::N0, der::TagMode::Explicit)?;
    if version != Some(2) {
        return Err(der::Tag::Integer.value_error());
    }
    let serial = UintRef::decode(tbs)?;
    tbs.tlv_bytes()?;
    let issuer = tbs.tlv_bytes()?.to_vec();
    let validity = X509Validity::decode(tbs)?;
    let subject = tbs.tlv_bytes()?.to_vec();
    let spki = tbs.tlv_bytes()?.to_vec();
    let extensions: Extensions = tbs.context_specific(TagNumber::N3, der::TagMode::Explicit)?.unwrap_or_default();
    let mut certificate = Certificate {
        der: der.to_vec(),
        serial: Serial::from_bytes(serial.as_bytes()),
        issuer,
        subject,
        spki,
        not_before: timestamp(&validity.not_before),
        not_after: timestamp(&validity.not_after),
        subject_key_id: None,
        authority_key_id: None,
        alt_names: Vec::new(),
        is_authority: false,
        path_length: None,
        key_usage: None,
    };
    for (at, extension) in extensions.iter().enumerate() {
        // RFC 5280 §4.2: not twice. Two readers might choose differently.
        if extensions.iter().take(at).any(|earlier| earlier.extn_id == extension.extn_id) {
            return Err(der::Tag::Sequence.value_error());
        }
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            SUBJECT_KEY_ID => {
                certificate.subject_key_id = Some(SubjectKeyIdentifier::from_der(value)?.0.as_bytes().to_vec());
            }
            AUTHORITY_KEY_ID => {
                let key_id = AuthorityKeyIdentifier::from_der(value)?.key_identifier;
                certificate.authority_key_id = key_id.map(|id| id.as_bytes().to_vec());
            }
            SUBJECT_ALT_NAME => certificate.alt_names = alt_names(value)?,
            BASIC_CONSTRAINTS => {
                let constraints = BasicConstraints::from_der(value)?;
                (certificate.is_authority, certificate.path_length) = (constraints.ca, constraints.path_len_constraint);
            }
            KEY_USAGE => certificate.key_usage = Some(KeyUsage::from_der(value)?),
            _ => {}
        }
    }
    Ok(certificate)
}

pub(crate) fn alt_names(extension: &[u8]) -> der::Result<Vec<AltName>> {
    let names = SubjectAltName::from_der(extension)?.0;
    Ok(names
        .into_iter()
        .map(|name| match name {
            GeneralName::DnsName(name) => AltName::Dns(name.to_string()),
            GeneralName::UniformResourceIdentifier(uri) => AltName::Uri(uri.to_string()),
            _ => AltName::Other,
        })
        .collect())
}

fn timestamp(time: &x509_cert::time::Time) -> Timestamp {
    Timestamp::EPOCH.plus(time.to_unix_duration())
}
