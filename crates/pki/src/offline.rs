//! The ceremony of a root that is kept offline: what its server asks for, what the root signs, what comes back.
//!
//! A request is a PKCS#10 whose extensions say what is asked: an authority for servers, or one for the authorities of
//! tenants, under the root that the authority key id names. It is read by writing what it should be and comparing the
//! bytes, so that nothing is asked for beside that. Another root is asked to be vouched for by its own certificate. What
//! comes back is held to the request: key, name, signature of the root, time, and exactly the rights that were asked for,
//! whichever tool signed it.

use base::Timestamp;
use der::Decode;
use x509_cert::attr::Attribute;
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage};

use fleetward_base as base;

use crate::asn1;
use crate::ca::{self, Vouches};
use crate::certificate::{
    AUTHORITY_KEY_ID, BASIC_CONSTRAINTS, BadCertificate, Certificate, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_KEY_ID,
};
use crate::csr::{self, EXTENSION_REQUEST};
use crate::issue::{IssueError, Issued, Issuer, Serial, Validity};
use crate::key::{self, BadSignature, SignError, Signer, WeakKey};
use crate::name;

/// What a root is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// An authority below it.
    Authority(Vouches),
    /// To vouch for another root (RFC 4210 §4.4).
    Cross,
}

impl Asks {
    /// As records and people have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority(vouches) => vouches.as_str(),
            Self::Cross => "cross",
        }
    }

    pub fn of(text: &str) -> Option<Self> {
        let all = [Self::Authority(Vouches::Servers), Self::Authority(Vouches::Tenants), Self::Cross];
        all.into_iter().find(|asks| asks.as_str() == text)
    }

    /// How many authorities may stand below what is asked for.
    pub const fn path_length(self) -> u8 {
        match self {
            Self::Authority(vouches) => vouches.path_length(),
            Self::Cross => ca::CROSS_PATH,
        }
    }
}

/// Why a request is not signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("neither a certificate request nor the certificate of a root")]
    Malformed,
    #[error(transparent)]
    Key(#[from] WeakKey),
    #[error(transparent)]
    Signature(#[from] BadSignature),
    #[error("the request asks another root, that with the key id {0}")]
    OtherRoot(String),
    #[error(
        "the request asks for something else than an authority for servers or for tenants: a device asks its server"
    )]
    Rights,
    #[error("a root need not vouch for itself")]
    Itself,
}

/// Why an answer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error(transparent)]
    Malformed(#[from] BadCertificate),
    #[error("it was not issued by the root that was asked")]
    OtherRoot,
    #[error("its key or its name is not that of the request")]
    OtherRequest,
    #[error("its signature does not hold under the root's key")]
    Signature,
    #[error("it is not valid now")]
    Time,
    #[error("it lasts longer than the root")]
    Outlives,
    #[error("its rights are not those that were asked for: {0}")]
    Rights(&'static str),
    #[error("its serial number is longer than 20 bytes")]
    Serial,
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub asks: Asks,
    /// A Name in DER.
    pub subject: Vec<u8>,
    /// SubjectPublicKeyInfo in DER.
    pub spki: Vec<u8>,
    /// The other root, where that is to be vouched for.
    pub root: Option<Certificate>,
}

/// A request for an authority under `root`, which vouches for it, with the signer's key.
///
/// # Errors
/// [`SignError`] where the key does not sign.
pub fn write(root: &Certificate, subject: &[u8], vouches: Vouches, signer: &dyn Signer) -> Result<Vec<u8>, SignError> {
    let extensions = wanted(vouches, root.subject_key_id.as_deref().unwrap_or_default());
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    csr::write(subject, &extensions, signer)
}

fn wanted(vouches: Vouches, root_key_id: &[u8]) -> Vec<Vec<u8>> {
    let mut extensions = ca::authority_extensions(vouches);
    let key_id = asn1::sequence(&[&asn1::element(0x80, &[root_key_id])]);
    extensions.push(asn1::extension(AUTHORITY_KEY_ID, false, &key_id));
    extensions
}

/// Reads what `root` is asked for: a PKCS#10, or the certificate of another root.
///
/// # Errors
/// [`RequestError`] says why it is not signed.
pub fn read(der: &[u8], root: &Certificate) -> Result<Request, RequestError> {
    if let Ok(other) = read_root(der) {
        if other.spki == root.spki {
            return Err(RequestError::Itself);
        }
        let (subject, spki) = (other.subject.clone(), other.spki.clone());
        return Ok(Request { asks: Asks::Cross, subject, spki, root: Some(other) });
    }
    let parts = csr::split(der).map_err(|_| RequestError::Malformed)?;
    name::read(parts.subject).map_err(|_| RequestError::Malformed)?;
    key::judge(parts.spki)?;
    let signature = parts.signature.as_bytes().ok_or(RequestError::Malformed)?;
    key::check_signature(parts.spki, &parts.algorithm, parts.info, signature)?;
    let own = root.subject_key_id.as_deref().unwrap_or_default();
    let asked = asked_root(&parts.attributes).ok_or(RequestError::Rights)?;
    if asked != own {
        return Err(RequestError::OtherRoot(crate::certificate::hex(&asked)));
    }
    let fits = |vouches: &Vouches| {
        let extensions = wanted(*vouches, own);
        let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
        csr::info(parts.subject, parts.spki, &extensions) == parts.info
    };
    let vouches = [Vouches::Servers, Vouches::Tenants].into_iter().find(fits).ok_or(RequestError::Rights)?;
    let (subject, spki) = (parts.subject.to_vec(), parts.spki.to_vec());
    Ok(Request { asks: Asks::Authority(vouches), subject, spki, root: None })
}

/// The key id of the root that a request names.
fn asked_root(attributes: &[Attribute]) -> Option<Vec<u8>> {
    let request = attributes.iter().find(|attribute| attribute.oid == EXTENSION_REQUEST)?;
    let extensions: Extensions = request.values.iter().next()?.decode_as().ok()?;
    let extension = extensions.iter().find(|extension| extension.extn_id == AUTHORITY_KEY_ID)?;
    let read = AuthorityKeyIdentifier::from_der(extension.extn_value.as_bytes()).ok()?;
    read.key_identifier.map(|id| id.as_bytes().to_vec())
}

/// The certificate of a root: an authority that vouches for itself, with room for the authorities of an installation.
///
/// # Errors
/// [`AnswerError`] says why it is none.
pub fn read_root(der: &[u8]) -> Result<Certificate, AnswerError> {
    let root = Certificate::parse(der)?;
    if root.subject != root.issuer
        || root.authority_key_id.as_ref().is_some_and(|id| root.subject_key_id.as_ref() != Some(id))
    {
        return Err(AnswerError::OtherRoot);
    }
    if root.subject_key_id.is_none() {
        return Err(AnswerError::Rights("it has no subject key id"));
    }
    check_signature(der, &root.spki)?;
    check_rights(&root, None, Vouches::Tenants.path_length() + 1)?;
    Ok(root)
}

/// Has the root sign what was asked for, as a root that is not kept offline would.
///
/// # Errors
/// [`IssueError`] where the key does not sign or the root's time is over.
pub fn sign(root: &Issuer<'_>, request: &Request, serial: Serial, validity: Validity) -> Result<Issued, IssueError> {
    match (request.asks, &request.root) {
        (Asks::Authority(vouches), _) => {
            ca::authority_of(root, &request.subject, vouches, serial, validity, &request.spki)
        }
        (Asks::Cross, Some(other)) => ca::cross(root, other, serial, validity),
        (Asks::Cross, None) => Err(IssueError::Authority),
    }
}

/// What was asked of `root`: the name, the key and the rights.
pub struct Wanted<'a> {
    pub root: &'a Certificate,
    pub asks: Asks,
    pub subject: &'a [u8],
    pub spki: &'a [u8],
    /// The key id that it must have, where another authority's certificates name it by that.
    pub key_id: Option<&'a [u8]>,
}

/// Whether a certificate names the root that was asked and the key that asked; whether it holds is [`check`]'s to say.
pub fn answers(certificate: &Certificate, wanted: &Wanted<'_>) -> bool {
    let by_root =
        certificate.issuer == wanted.root.subject && certificate.authority_key_id == wanted.root.subject_key_id;
    by_root && certificate.spki == wanted.spki
}

/// Holds what came back to what was asked for.
///
/// # Errors
/// [`AnswerError`] says in what it differs.
pub fn check(der: &[u8], wanted: &Wanted<'_>, now: Timestamp) -> Result<Certificate, AnswerError> {
    let certificate = Certificate::parse(der)?;
    let root = wanted.root;
    if certificate.issuer != root.subject || certificate.authority_key_id != root.subject_key_id {
        return Err(AnswerError::OtherRoot);
    }
    if certificate.spki != wanted.spki || !name::say_the_same(&certificate.subject, wanted.subject) {
        return Err(AnswerError::OtherRequest);
    }
    check_signature(der, &root.spki)?;
    if certificate.serial.is_longer_than(20) {
        return Err(AnswerError::Serial);
    }
    if now < certificate.not_before || now > certificate.not_after {
        return Err(AnswerError::Time);
    }
    if certificate.not_after > root.not_after {
        return Err(AnswerError::Outlives);
    }
    if certificate.subject_key_id.is_none() {
        return Err(AnswerError::Rights("it has no subject key id"));
    }
    if wanted.key_id.is_some_and(|id| certificate.subject_key_id.as_deref() != Some(id)) {
        return Err(AnswerError::Rights("its subject key id is another than that of the root that it vouches for"));
    }
    let purpose = match wanted.asks {
        Asks::Authority(vouches) => Some(vouches.purpose()),
        Asks::Cross => None,
    };
    check_rights(&certificate, purpose, wanted.asks.path_length())?;
    Ok(certificate)
}

fn check_signature(der: &[u8], spki: &[u8]) -> Result<(), AnswerError> {
    let parts = crate::factory::split(der).map_err(|_| AnswerError::Signature)?;
    let signature = parts.signature.as_bytes().ok_or(AnswerError::Signature)?;
    key::check_signature(spki, &parts.algorithm, parts.tbs, signature).map_err(|_| AnswerError::Signature)
}

/// Exactly these rights: fewer would break what stands below, more were never asked for.
fn check_rights(
    certificate: &Certificate,
    purpose: Option<const_oid::ObjectIdentifier>,
    path_length: u8,
) -> Result<(), AnswerError> {
    let read = x509_cert::Certificate::from_der(&certificate.der).map_err(|e| BadCertificate(e.to_string()))?;
    let (mut constraints, mut usage, mut purposes) = (None, None, None);
    for extension in read.tbs_certificate.extensions.unwrap_or_default() {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            BASIC_CONSTRAINTS => constraints = BasicConstraints::from_der(value).ok(),
            KEY_USAGE => usage = KeyUsage::from_der(value).ok(),
            EXTENDED_KEY_USAGE => purposes = ExtendedKeyUsage::from_der(value).ok(),
            SUBJECT_KEY_ID | AUTHORITY_KEY_ID => {}
            _ if extension.critical => return Err(AnswerError::Rights("a critical extension is not known here")),
            _ => {}
        }
    }
    let constraints = constraints.filter(|found| found.ca).ok_or(AnswerError::Rights("it is no authority"))?;
    match constraints.path_len_constraint {
        Some(found) if found < path_length => return Err(AnswerError::Rights("its path length is too short")),
        Some(found) if found > path_length && purpose.is_some() => {
            return Err(AnswerError::Rights("its path length is too long"));
        }
        None if purpose.is_some() => return Err(AnswerError::Rights("its path length is not limited")),
        _ => {}
    }
    let usage = usage.ok_or(AnswerError::Rights("it has no keyUsage"))?;
    if !usage.key_cert_sign() || !usage.crl_sign() {
        return Err(AnswerError::Rights("it may not sign certificates and lists"));
    }
    match (purpose, purposes) {
        (None, None) => Ok(()),
        (Some(purpose), Some(found)) if found.0 == [purpose] => Ok(()),
        (None, Some(_)) => Err(AnswerError::Rights("it is held to a purpose")),
        (Some(_), _) => Err(AnswerError::Rights("its extendedKeyUsage is not the purpose alone that was asked for")),
    }
}

#[cfg(test)]
mod tests;
