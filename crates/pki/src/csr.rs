//! Certificate requests (PKCS#10): read, held to the rules, hashed for idempotence; and written, for those who enrol.
//!
//! [`parse`] accepts only a request whose key is good enough and signs it (proof of possession), that does not ask to
//! be an authority, and whose every critical wish is understood. [`Csr::check_identity`] refuses a request that names
//! another device or tenant anywhere: what it may ask for is what the server would say anyway (no SAN smuggling).

use aws_lc_rs::digest::{Context, SHA256};
use base::{DeviceId, TenantId};
use const_oid::ObjectIdentifier;
use der::asn1::BitStringRef;
use der::{Decode, Reader, SliceReader, Tag, TagNumber};
use spki::AlgorithmIdentifierRef;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use fleetward_base as base;

use crate::asn1;
use crate::certificate::{
    AltName, BASIC_CONSTRAINTS, Certificate, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME, SUBJECT_KEY_ID, alt_names,
};
use crate::identity::Identity;
use crate::key::{self, BadSignature, KeyKind, SignError, Signer, WeakKey};
use crate::name::{self, Names};

pub(crate) const EXTENSION_REQUEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.14");
/// The same, as older Microsoft clients name it.
const EXTENSION_REQUEST_MS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.14");
/// Asks that a key made by the server be encrypted to another key (RFC 7030 §4.4.1.1, §4.4.1.2).
const DECRYPT_KEY_IDS: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.37"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.54"),
];
pub(crate) const CHALLENGE_PASSWORD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7");

/// Why a request is refused. The texts go back to who sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    #[error("not a PKCS#10 certificate request")]
    Malformed,
    #[error(transparent)]
    Key(#[from] WeakKey),
    #[error(transparent)]
    Signature(#[from] BadSignature),
    #[error("the request asks for the rights of an authority")]
    Authority,
    #[error("the request has the critical extension {0}, which is not known here")]
    CriticalExtension(ObjectIdentifier),
    #[error("the request asks for the extension {0} more than once")]
    RepeatedExtension(ObjectIdentifier),
    #[error("the subject is longer than {} bytes", base::limits::CSR_SUBJECT_BYTES)]
    LongSubject,
    #[error("the subject must have one common name, that of the device")]
    Device,
    #[error("the subject names an organisation that is not the tenant")]
    Tenant,
    #[error("the request asks for an alternative name that is not the device's own")]
    AltName,
    #[error("the subject is not that of the certificate to be renewed")]
    OtherSubject,
}

impl CsrError {
    /// A stable word for logs, metrics and the journal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "csr-malformed",
            Self::Key(_) => "csr-weak-key",
            Self::Signature(_) => "csr-signature",
            Self::Authority => "csr-authority",
            Self::CriticalExtension(_) => "csr-critical-extension",
            Self::RepeatedExtension(_) => "csr-repeated-extension",
            Self::LongSubject => "csr-long-subject",
            Self::Device => "csr-other-device",
            Self::Tenant => "csr-other-tenant",
            Self::AltName => "csr-alternative-name",
            Self::OtherSubject => "csr-other-subject",
        }
    }
}

/// A request that may be certified, for a device yet to be checked.
#[derive(Clone, Debug)]
pub struct Csr {
    der: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    /// The key that signed the request, where another one is to be certified.
    asker: Option<Vec<u8>>,
    names: Names,
    wishes: Wishes,
    key: KeyKind,
}

#[derive(Clone, Debug, Default)]
struct Wishes {
    alt_names: Vec<AltName>,
    challenge_password: Option<Vec<u8>>,
    encrypted_key: bool,
    seen: Vec<ObjectIdentifier>,
}

/// Reads a request from DER and holds it to the rules that depend on nothing else.
///
/// # Errors
/// [`CsrError`] says which rule it broke.
pub fn parse(der: &[u8]) -> Result<Csr, CsrError> {
    let parts = split(der).map_err(|_| CsrError::Malformed)?;
    if parts.subject.len() > base::limits::CSR_SUBJECT_BYTES {
        return Err(CsrError::LongSubject);
    }
    let names = name::read(parts.subject).map_err(|_| CsrError::Malformed)?;
    let key = key::judge(parts.spki)?;
    let signature = parts.signature.as_bytes().ok_or(CsrError::Malformed)?;
    key::check_signature(parts.spki, &parts.algorithm, parts.info, signature)?;
    // Only of what is whole: where the request came encrypted, what is said of an altered one would tell what is in it.
    let wishes = wishes(&parts.attributes)?;
    let (subject, spki) = (parts.subject.to_vec(), parts.spki.to_vec());
    Ok(Csr { der: der.to_vec(), subject, spki, asker: None, names, wishes, key })
}

impl Csr {
    /// The whole request in DER, as it came.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject in DER.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// Whether the subject names anything.
    pub fn has_subject(&self) -> bool {
        !self.names.empty
    }

    /// The one common name of the subject; `None` where there is none, or several.
    pub fn common_name(&self) -> Option<&str> {
        match self.names.common_names.as_slice() {
            [name] => Some(name),
            _ => None,
        }
    }

    /// The public key as a SubjectPublicKeyInfo in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub fn key(&self) -> KeyKind {
        self.key
    }

    /// The challengePassword, which some clients bind to the channel (RFC 7030 §3.5).
    pub fn challenge_password(&self) -> Option<&[u8]> {
        self.wishes.challenge_password.as_deref()
    }

    /// Whether a key that the server makes must not come in the clear.
    pub fn wants_encrypted_key(&self) -> bool {
        self.wishes.encrypted_key
    }

    /// The same wishes for another key: that of a request whose sender has none of its own (RFC 7030 §4.4.1).
    #[must_use]
    pub fn with_key(self, key: &dyn Signer) -> Self {
        let kind = key::judge(key.public_spki()).unwrap_or(self.key);
        let asker = Some(self.asker.unwrap_or(self.spki));
        Self { spki: key.public_spki().to_vec(), asker, key: kind, ..self }
    }

    /// Whether somebody else made the key that is to be certified: it is another one each time.
    pub fn has_given_key(&self) -> bool {
        self.asker.is_some()
    }

    /// Holds the request to the device that it is certified for. An empty subject is in order: the server fills it in.
    /// An organisation that reads as a tenant's name must be this tenant's; one that does not (a company's full name)
    /// says nothing of tenants and stays.
    ///
    /// # Errors
    /// [`CsrError::Device`], [`CsrError::Tenant`] or [`CsrError::AltName`] where it names another.
    pub fn check_identity(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), CsrError> {
        let one_name = matches!(self.names.common_names.as_slice(), [name] if name == device.as_str());
        if self.has_subject() && !one_name {
            return Err(CsrError::Device);
        }
        let foreign = |name: &String| name != tenant.as_str() && name.parse::<TenantId>().is_ok();
        if self.names.organizations.iter().any(foreign) {
            return Err(CsrError::Tenant);
        }
        let identity = Identity { tenant: tenant.clone(), device: device.clone() }.to_string();
        let own = |name: &AltName| match name {
            AltName::Uri(uri) => *uri == identity,
            AltName::Dns(name) => name == device.as_str(),
            AltName::Other => false,
        };
        if self.wishes.alt_names.iter().all(own) { Ok(()) } else { Err(CsrError::AltName) }
    }

    /// Holds the request to being nobody's yet: its certificate will name no device, so it must not ask to be known by any
    /// alternative name, nor carry the name of another tenant.
    ///
    /// # Errors
    /// [`CsrError::Tenant`] or [`CsrError::AltName`].
    pub fn check_unbound(&self, tenant: &TenantId) -> Result<(), CsrError> {
        let foreign = |name: &String| name != tenant.as_str() && name.parse::<TenantId>().is_ok();
        if self.names.organizations.iter().any(foreign) {
            return Err(CsrError::Tenant);
        }
        if self.wishes.alt_names.is_empty() { Ok(()) } else { Err(CsrError::AltName) }
    }

    /// Holds a renewal to the certificate that it renews: the same subject (RFC 7030 §4.2.2). A missing
    /// subjectAltName is derived again by the server, so only a wrong one is refused, by [`Self::check_identity`].
    ///
    /// # Errors
    /// [`CsrError::OtherSubject`].
    pub fn check_renews(&self, presented: &Certificate) -> Result<(), CsrError> {
        if name::say_the_same(&self.subject, &presented.subject) { Ok(()) } else { Err(CsrError::OtherSubject) }
    }

    /// What makes two requests the same one: SHA-256 over tenant, public key and subject, each with its length. The
    /// signature is no part of it, since a client that tries again may sign again.
    pub fn request_hash(&self, tenant: &TenantId) -> [u8; 32] {
        hash_of(&[tenant.as_str().as_bytes(), &self.spki, &self.subject])
    }

    /// As [`request_hash`](Self::request_hash), also where the key is given by somebody else and so another one each time
    /// that the request comes: it is then over the key that signed the request, and never that of the same request for that
    /// key itself.
    pub fn asking_hash(&self, tenant: &TenantId) -> [u8; 32] {
        match &self.asker {
            None => self.request_hash(tenant),
            Some(asker) => hash_of(&[tenant.as_str().as_bytes(), asker, &self.subject, b"given key"]),
        }
    }
}

fn hash_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A request for `subject` (a Name in DER) with the signer's key; `extensions` are finished Extensions to ask for.
///
/// # Errors
/// [`SignError`] where the key does not sign.
pub fn write(subject: &[u8], extensions: &[&[u8]], signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    write_with_password(subject, extensions, None, signer)
}

/// As [`write()`], with a challengePassword: what binds the request to a connection, or a secret.
///
/// # Errors
/// [`SignError`] where the key does not sign.
pub fn write_with_password(
    subject: &[u8],
    extensions: &[&[u8]],
    password: Option<&[u8]>,
    signer: &dyn Signer,
) -> Result<Vec<u8>, SignError> {
    let info = info_with(subject, signer.public_spki(), extensions, password);
    let signature = signer.sign(&info)?;
    Ok(asn1::sequence(&[&info, &signer.algorithm().identifier(), &asn1::bits(&signature)]))
}

/// What is signed of a request for these.
pub(crate) fn info(subject: &[u8], spki: &[u8], extensions: &[&[u8]]) -> Vec<u8> {
    info_with(subject, spki, extensions, None)
}

fn info_with(subject: &[u8], spki: &[u8], extensions: &[&[u8]], password: Option<&[u8]>) -> Vec<u8> {
    let attribute = |id, value: &[u8]| asn1::sequence(&[&asn1::oid(id), &asn1::element(asn1::SET, &[value])]);
    let mut attributes = Vec::new();
    if !extensions.is_empty() {
        attributes.push(attribute(EXTENSION_REQUEST, &asn1::sequence(extensions)));
    }
    // PrintableString holds neither `_` nor `@`, which tokens have.
    attributes.extend(password.map(|text| attribute(CHALLENGE_PASSWORD, &asn1::element(asn1::UTF8_STRING, &[text]))));
    let attributes: Vec<&[u8]> = attributes.iter().map(Vec::as_slice).collect();
    let attributes = asn1::element(0xa0, &attributes);
    asn1::sequence(&[&asn1::unsigned(&[]), subject, spki, &attributes])
}

pub(crate) struct Parts<'a> {
    pub(crate) info: &'a [u8],
    pub(crate) subject: &'a [u8],
    pub(crate) spki: &'a [u8],
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) algorithm: AlgorithmIdentifierRef<'a>,
    pub(crate) signature: BitStringRef<'a>,
}

pub(crate) fn split(der: &[u8]) -> der::Result<Parts<'_>> {
    let mut outer = SliceReader::new(der)?;
    let (info, algorithm, signature) = outer.sequence(|outer| {
        Ok((outer.tlv_bytes()?, AlgorithmIdentifierRef::decode(outer)?, BitStringRef::decode(outer)?))
    })?;
    outer.finish(())?;
    let mut reader = SliceReader::new(info)?;
    let parts = reader.sequence(|inner| {
        if u8::decode(inner)? != 0 {
            return Err(Tag::Integer.value_error());
        }
        let (subject, spki) = (inner.tlv_bytes()?, inner.tlv_bytes()?);
        let attributes = attributes(inner)?;
        Ok(Parts { info, subject, spki, attributes, algorithm, signature })
    })?;
    reader.finish(parts)
}

/// `[0] IMPLICIT SET OF Attribute`. Its order is not held to DER, and it may be absent, as some clients send it.
fn attributes<'a>(inner: &mut impl Reader<'a>) -> der::Result<Vec<Attribute>> {
    let mut list = Vec::new();
    if inner.is_finished() {
        return Ok(list);
    }
    let header = inner.peek_header()?;
    header.tag.assert_eq(Tag::ContextSpecific { constructed: true, number: TagNumber::N0 })?;
    let element = inner.tlv_bytes()?;
    let start = element.len() - usize::try_from(header.length)?;
    let mut values = SliceReader::new(element.get(start..).unwrap_or_default())?;
    while !values.is_finished() {
        list.push(Attribute::decode(&mut values)?);
    }
    Ok(list)
}

fn wishes(attributes: &[Attribute]) -> Result<Wishes, CsrError> {
    let mut wishes = Wishes::default();
    for attribute in attributes {
        match attribute.oid {
            EXTENSION_REQUEST | EXTENSION_REQUEST_MS => {
                for value in attribute.values.iter() {
                    let extensions: Extensions = value.decode_as().map_err(|_| CsrError::Malformed)?;
                    for extension in &extensions {
                        wish(&mut wishes, extension)?;
                    }
                }
            }
            CHALLENGE_PASSWORD => {
                wishes.challenge_password = attribute.values.iter().next().map(|value| value.value().to_vec());
            }
            id if DECRYPT_KEY_IDS.contains(&id) => wishes.encrypted_key = true,
            _ => {}
        }
    }
    Ok(wishes)
}

/// Usages and key ids are set by the server whatever is wished; a wish that cannot be is refused, not passed over.
fn wish(wishes: &mut Wishes, extension: &x509_cert::ext::Extension) -> Result<(), CsrError> {
    let (id, value) = (extension.extn_id, extension.extn_value.as_bytes());
    if wishes.seen.contains(&id) {
        return Err(CsrError::RepeatedExtension(id));
    }
    wishes.seen.push(id);
    match id {
        SUBJECT_ALT_NAME => wishes.alt_names = alt_names(value).map_err(|_| CsrError::Malformed)?,
        BASIC_CONSTRAINTS => {
            let constraints = BasicConstraints::from_der(value).map_err(|_| CsrError::Malformed)?;
            if constraints.ca {
                return Err(CsrError::Authority);
            }
        }
        KEY_USAGE => {
            let usage = KeyUsage::from_der(value).map_err(|_| CsrError::Malformed)?;
            if usage.key_cert_sign() || usage.crl_sign() {
                return Err(CsrError::Authority);
            }
        }
        EXTENDED_KEY_USAGE | SUBJECT_KEY_ID => {}
        _ if extension.critical => return Err(CsrError::CriticalExtension(id)),
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
