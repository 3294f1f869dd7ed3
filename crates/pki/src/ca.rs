//! The installation's own certificates: root, issuing authorities, servers.
//!
//! ```text
//! root (path length 3) -> infra (path length 0, serverAuth) -> servers
//!                      -> one issuing authority for each tenant (path length 0, clientAuth) -> devices
//! root that is kept offline -> infra
//!                           -> tenants (path length 1, clientAuth) -> issuing authorities -> devices
//! old root -> new root's name and key, and the other way round, while the one follows the other (RFC 4210 §4.4)
//! ```
//! An issuing authority of a tenant cannot vouch for a server, nor the infra authority for a device: each is held to
//! its purpose by its own extended key usage. Keys are P-256; the signer of the root is needed for authorities only.

use std::net::IpAddr;
use std::str::FromStr;

use base::Timestamp;
use const_oid::ObjectIdentifier;

use fleetward_base as base;

use crate::asn1;
use crate::certificate::{BASIC_CONSTRAINTS, Certificate, EXTENDED_KEY_USAGE, KEY_USAGE, SUBJECT_ALT_NAME};
use crate::issue::{self, IssueError, Issued, Issuer, Serial, Template, Validity};
use crate::key::Signer;
use crate::name;

pub(crate) const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
pub(crate) const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const OCSP_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9");
/// id-pkix-ocsp-nocheck: nobody asks whether the one who answers is revoked (RFC 6960 §4.2.2.2.1); it lives shortly instead.
const OCSP_NO_CHECK: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.5");
/// Below a root: another root that it vouches for during a change of roots, the authority of tenants, an issuing one.
const ROOT_PATH: u8 = 3;
/// A root that another root vouches for.
pub(crate) const CROSS_PATH: u8 = 2;
/// KeyUsage bits, the first named one highest (RFC 5280 §4.2.1.3).
pub(crate) const DIGITAL_SIGNATURE: u8 = 0b1000_0000;
const KEY_ENCIPHERMENT: u8 = 0b0010_0000;
const CERT_AND_CRL_SIGN: u8 = 0b0000_0110;

/// What an authority below the root vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vouches {
    Servers,
    Devices,
    /// For issuing authorities of tenants, in the place of a root that is kept offline.
    Tenants,
}

impl Vouches {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Servers => "servers",
            Self::Devices => "devices",
            Self::Tenants => "tenants",
        }
    }

    /// How many authorities may stand below it.
    pub const fn path_length(self) -> u8 {
        match self {
            Self::Servers | Self::Devices => 0,
            Self::Tenants => 1,
        }
    }

    /// The one extended key usage that it is held to.
    pub(crate) const fn purpose(self) -> ObjectIdentifier {
        match self {
            Self::Servers => SERVER_AUTH,
            Self::Devices | Self::Tenants => CLIENT_AUTH,
        }
    }
}

/// A name that a server is reached by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    Dns(String),
    Ip(IpAddr),
}

impl FromStr for ServerName {
    type Err = IssueError;

    fn from_str(text: &str) -> Result<Self, IssueError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self::Dns(text.to_ascii_lowercase()))
        } else {
            Err(IssueError::ServerName(text.chars().take(80).collect()))
        }
    }
}

/// The root of an installation, signed with its own key.
///
/// # Errors
/// [`IssueError`] where the key does not sign.
pub fn root(common_name: &str, serial: Serial, validity: Validity, signer: &dyn Signer) -> Result<Issued, IssueError> {
    let subject = name::write(None, common_name);
    let extensions = vec![constraints(Some(ROOT_PATH)), key_usage(CERT_AND_CRL_SIGN)];
    issue::self_sign(Template { serial, validity, subject: &subject, spki: signer.public_spki(), extensions }, signer)
}

/// An issuing authority under the root.
///
/// # Errors
/// [`IssueError`] where the root does not sign or its time is over.
pub fn intermediate(
    root: &Issuer<'_>,
    subject: (Option<&str>, &str),
    vouches: Vouches,
    serial: Serial,
    validity: Validity,
    spki: &[u8],
) -> Result<Issued, IssueError> {
    authority_of(root, &name::write(subject.0, subject.1), vouches, serial, validity, spki)
}

/// As [`intermediate`], with the subject as a Name in DER.
pub(crate) fn authority_of(
    root: &Issuer<'_>,
    subject: &[u8],
    vouches: Vouches,
    serial: Serial,
    validity: Validity,
    spki: &[u8],
) -> Result<Issued, IssueError> {
    let extensions = authority_extensions(vouches);
    issue::sign(Template { serial, validity, subject, spki, extensions }, root)
}

/// What an authority below the root is held to.
pub(crate) fn authority_extensions(vouches: Vouches) -> Vec<Vec<u8>> {
    let constraints = constraints(Some(vouches.path_length()));
    vec![constraints, key_usage(CERT_AND_CRL_SIGN), extended_key_usage(vouches.purpose())]
}

/// The same authority again, name and key, under another root: when a root follows another, what was issued does not
/// have to be issued anew.
///
/// # Errors
/// [`IssueError`] where the root does not sign or its time is over.
pub fn again(
    root: &Issuer<'_>,
    authority: &Certificate,
    vouches: Vouches,
    serial: Serial,
    validity: Validity,
) -> Result<Issued, IssueError> {
    let extensions = authority_extensions(vouches);
    let key_id = authority.subject_key_id.as_deref().ok_or(IssueError::Authority)?;
    let template = Template { serial, validity, subject: &authority.subject, spki: &authority.spki, extensions };
    issue::sign_cross(template, root, key_id)
}

/// One root's name and key, signed by another root: NewWithOld and OldWithNew of RFC 4210 §4.4.
///
/// # Errors
/// [`IssueError`] where `by` does not sign or its time is over, or `root` is no authority.
pub fn cross(by: &Issuer<'_>, root: &Certificate, serial: Serial, validity: Validity) -> Result<Issued, IssueError> {
    let key_id = root.subject_key_id.as_deref().filter(|_| root.is_authority).ok_or(IssueError::Authority)?;
    let extensions = vec![constraints(Some(CROSS_PATH)), key_usage(CERT_AND_CRL_SIGN)];
    // Never longer than the root itself says that it lasts.
    let validity = Validity { not_after: Timestamp::min(validity.not_after, root.not_after), ..validity };
    let template = Template { serial, validity, subject: &root.subject, spki: &root.spki, extensions };
    issue::sign_cross(template, by, key_id)
}

/// A server's certificate for the names it is reached by; the first stands in the subject too.
///
/// # Errors
/// [`IssueError`] where there is no name, or the authority does not sign or its time is over.
pub fn server(
    infra: &Issuer<'_>,
    names: &[ServerName],
    serial: Serial,
    validity: Validity,
    spki: &[u8],
) -> Result<Issued, IssueError> {
    let first = match names.first() {
        Some(ServerName::Dns(name)) => name.clone(),
        Some(ServerName::Ip(ip)) => ip.to_string(),
        None => return Err(IssueError::ServerName(String::new())),
    };
    // A common name has 64 characters at most (RFC 5280, ub-common-name); what counts is the subjectAltName.
    let subject = name::write(None, first.get(..64).unwrap_or(&first));
    let general: Vec<Vec<u8>> = names.iter().map(general_name).collect();
    let general: Vec<&[u8]> = general.iter().map(Vec::as_slice).collect();
    let extensions = vec![
        key_usage(DIGITAL_SIGNATURE),
        extended_key_usage(SERVER_AUTH),
        asn1::extension(SUBJECT_ALT_NAME, false, &asn1::sequence(&general)),
    ];
    issue::sign(Template { serial, validity, subject: &subject, spki, extensions }, infra)
}

/// A registration authority of SCEP: it decrypts requests and signs answers, and nothing else (RFC 8894 §2.1.2). It
/// vouches for nobody, and names no device, so that no door takes it for one.
///
/// # Errors
/// [`IssueError`] where the authority does not sign or its time is over.
pub fn registration(
    issuer: &Issuer<'_>,
    subject: (&str, &str),
    serial: Serial,
    validity: Validity,
    spki: &[u8],
) -> Result<Issued, IssueError> {
    let subject = name::write(Some(subject.0), subject.1);
    let extensions = vec![key_usage(DIGITAL_SIGNATURE | KEY_ENCIPHERMENT)];
    issue::sign(Template { serial, validity, subject: &subject, spki, extensions }, issuer)
}

/// Who answers OCSP requests in the name of an authority (RFC 6960 §2.6): a key of its own, so that the authority's key is
/// not asked for each answer.
///
/// # Errors
/// [`IssueError`] where the authority does not sign or its time is over.
pub fn ocsp_responder(
    authority: &Issuer<'_>,
    common_name: &str,
    serial: Serial,
    validity: Validity,
    spki: &[u8],
) -> Result<Issued, IssueError> {
    let subject = name::write(None, common_name);
    let extensions = vec![
        key_usage(DIGITAL_SIGNATURE),
        extended_key_usage(OCSP_SIGNING),
        asn1::extension(OCSP_NO_CHECK, false, &asn1::NULL),
    ];
    issue::sign(Template { serial, validity, subject: &subject, spki, extensions }, authority)
}

/// The extensions that every device's certificate has: signing only, for TLS clients only. Exactly these bytes, since
/// fioconfig refuses a renewal with others.
pub(crate) fn device_usage() -> Vec<Vec<u8>> {
    vec![key_usage(DIGITAL_SIGNATURE), extended_key_usage(CLIENT_AUTH)]
}

fn general_name(name: &ServerName) -> Vec<u8> {
    match name {
        ServerName::Dns(name) => asn1::element(0x82, &[name.as_bytes()]),
        ServerName::Ip(IpAddr::V4(ip)) => asn1::element(0x87, &[&ip.octets()]),
        ServerName::Ip(IpAddr::V6(ip)) => asn1::element(0x87, &[&ip.octets()]),
    }
}

fn constraints(path_length: Option<u8>) -> Vec<u8> {
    let truth = asn1::element(asn1::BOOLEAN, &[&[0xff]]);
    let length = path_length.map(|length| asn1::unsigned(&[length])).unwrap_or_default();
    asn1::extension(BASIC_CONSTRAINTS, true, &asn1::sequence(&[&truth, &length]))
}

pub(crate) fn key_usage(bits: u8) -> Vec<u8> {
    asn1::extension(KEY_USAGE, true, &asn1::named_bits(bits))
}

pub(crate) fn extended_key_usage(purpose: ObjectIdentifier) -> Vec<u8> {
    asn1::extension(EXTENDED_KEY_USAGE, false, &asn1::sequence(&[&asn1::oid(purpose)]))
}
