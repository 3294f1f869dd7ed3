//! A device's certificate.
//!
//! Subject: that of the request, byte by byte, where it has one (its common name was checked to be the device), else
//! organisation TENANT and common name DEVICE. subjectAltName: the identity alone, from the server. Usage: signatures of
//! a TLS client. No basicConstraints. Where others may ask about it is said where the caller knows ([`Urls`]); the server
//! itself asks its registry.

use base::{DeviceId, TenantId};
use const_oid::ObjectIdentifier;

use fleetward_base as base;

use crate::asn1;
use crate::ca::device_usage;
use crate::certificate::SUBJECT_ALT_NAME;
use crate::csr::{Csr, CsrError};
use crate::identity::{ClaimName, Identity, UnboundName};
use crate::issue::{self, IssueError, Issued, Issuer, Serial, Template, Validity};
use crate::name;

const CRL_DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const AUTHORITY_INFO_ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

/// Why a device gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    #[error(transparent)]
    Request(#[from] CsrError),
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// Where others ask about a certificate (RFC 5280 §4.2.1.13 and §4.2.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// The list, or the shard of it, that the certificate would be on.
    pub crl: String,
    pub ocsp: String,
    /// The certificate of the authority.
    pub issuer: String,
}

impl Urls {
    fn extensions(&self) -> [Vec<u8>; 2] {
        let point = asn1::element(0xa0, &[&asn1::element(0xa0, &[&asn1::uri(&self.crl)])]);
        let points = asn1::sequence(&[&asn1::sequence(&[&point])]);
        let access = |method, url: &str| asn1::sequence(&[&asn1::oid(method), &asn1::uri(url)]);
        let access = asn1::sequence(&[&access(OCSP, &self.ocsp), &access(CA_ISSUERS, &self.issuer)]);
        [
            asn1::extension(CRL_DISTRIBUTION_POINTS, false, &points),
            asn1::extension(AUTHORITY_INFO_ACCESS, false, &access),
        ]
    }
}

/// Issues the certificate of `device` for the key of `csr`.
///
/// # Errors
/// [`LeafError::Request`] where the request names somebody else, [`LeafError::Issue`] where the authority cannot sign.
pub fn issue(
    issuer: &Issuer<'_>,
    tenant: &TenantId,
    device: &DeviceId,
    csr: &Csr,
    serial: Serial,
    validity: Validity,
) -> Result<Issued, LeafError> {
    issue_with(issuer, (tenant, device), csr, serial, validity, None)
}

/// As [`issue()`], and says where to ask about it. What clients compare (usage and alternative name) is the same bytes.
///
/// # Errors
/// As [`issue()`].
pub fn issue_with(
    issuer: &Issuer<'_>,
    (tenant, device): (&TenantId, &DeviceId),
    csr: &Csr,
    serial: Serial,
    validity: Validity,
    urls: Option<&Urls>,
) -> Result<Issued, LeafError> {
    csr.check_identity(tenant, device)?;
    let derived = name::write(Some(tenant.as_str()), device.as_str());
    let subject = if csr.has_subject() { csr.subject() } else { &derived };
    let identity = Identity { tenant: tenant.clone(), device: device.clone() }.to_string();
    named(issuer, &identity, subject, csr, (serial, validity), urls)
}

/// Issues a certificate for the key of `csr` that is nobody's yet: the registry will say whose it is. Its subject is the
/// server's, whatever the request says: who reads a common name must not read that of some device there.
///
/// # Errors
/// [`LeafError::Request`] where the request names somebody, [`LeafError::Issue`] where the authority cannot sign.
pub fn unbound(
    issuer: &Issuer<'_>,
    tenant: &TenantId,
    csr: &Csr,
    serial: Serial,
    validity: Validity,
    urls: Option<&Urls>,
) -> Result<Issued, LeafError> {
    let name = UnboundName { tenant: tenant.clone(), id: serial.to_string() };
    unbound_as(issuer, &name, csr, serial, validity, urls)
}

/// As [`unbound`], under an id that was chosen before the serial number.
///
/// # Errors
/// As there.
pub fn unbound_as(
    issuer: &Issuer<'_>,
    name: &UnboundName,
    csr: &Csr,
    serial: Serial,
    validity: Validity,
    urls: Option<&Urls>,
) -> Result<Issued, LeafError> {
    csr.check_unbound(&name.tenant)?;
    let subject = name::write(Some(name.tenant.as_str()), &name.id);
    named(issuer, &name.to_string(), &subject, csr, (serial, validity), urls)
}

/// Issues the certificate of a claim. Its subject is the server's, whatever the request says.
///
/// # Errors
/// [`LeafError::Issue`] where the authority cannot sign.
pub fn claim(
    issuer: &Issuer<'_>,
    claim: &ClaimName,
    csr: &Csr,
    serial: Serial,
    validity: Validity,
    urls: Option<&Urls>,
) -> Result<Issued, LeafError> {
    let subject = name::write(Some(claim.tenant.as_str()), &claim.claim);
    named(issuer, &claim.to_string(), &subject, csr, (serial, validity), urls)
}

fn named(
    issuer: &Issuer<'_>,
    name: &str,
    subject: &[u8],
    csr: &Csr,
    (serial, validity): (Serial, Validity),
    urls: Option<&Urls>,
) -> Result<Issued, LeafError> {
    let alt_name = asn1::sequence(&[&asn1::element(0x86, &[name.as_bytes()])]);
    let mut extensions = device_usage();
    extensions.push(asn1::extension(SUBJECT_ALT_NAME, false, &alt_name));
    extensions.extend(urls.into_iter().flat_map(Urls::extensions));
    Ok(issue::sign(Template { serial, validity, subject, spki: csr.spki(), extensions }, issuer)?)
}
