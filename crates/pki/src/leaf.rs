//! A device's certificate.
//!
//! Subject: that of the request, byte by byte, where it has one (its common name was checked to be the device), else
//! organisation TENANT and common name DEVICE. subjectAltName: the identity alone, from the server. Usage: signatures of
//! a TLS client. No basicConstraints, no CRL distribution point: the server asks its registry.

use base::{DeviceId, TenantId};

use fleetward_base as base;

use crate::asn1;
use crate::ca::device_usage;
use crate::certificate::SUBJECT_ALT_NAME;
use crate::csr::{Csr, CsrError};
use crate::identity::{ClaimName, Identity, UnboundName};
use crate::issue::{self, IssueError, Issued, Issuer, Serial, Template, Validity};
use crate::name;

/// Why a device gets no certificate.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    #[error(transparent)]
    Request(#[from] CsrError),
    #[error(transparent)]
    Issue(#[from] IssueError),
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
    csr.check_identity(tenant, device)?;
    let derived = name::write(Some(tenant.as_str()), device.as_str());
    let subject = if csr.has_subject() { csr.subject() } else { &derived };
    let identity = Identity { tenant: tenant.clone(), device: device.clone() }.to_string();
    named(issuer, &identity, subject, csr, serial, validity)
}

/// Issues a certificate for the key of `csr` that is nobody's yet: the registry will say whose it is.
///
/// # Errors
/// [`LeafError::Request`] where the request names somebody, [`LeafError::Issue`] where the authority cannot sign.
pub fn unbound(
    issuer: &Issuer<'_>,
    tenant: &TenantId,
    csr: &Csr,
    serial: Serial,
    validity: Validity,
) -> Result<Issued, LeafError> {
    csr.check_unbound(tenant)?;
    let id = serial.to_string();
    let derived = name::write(Some(tenant.as_str()), &id);
    let subject = if csr.has_subject() { csr.subject() } else { &derived };
    let name = UnboundName { tenant: tenant.clone(), id }.to_string();
    named(issuer, &name, subject, csr, serial, validity)
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
) -> Result<Issued, LeafError> {
    let subject = name::write(Some(claim.tenant.as_str()), &claim.claim);
    named(issuer, &claim.to_string(), &subject, csr, serial, validity)
}

fn named(
    issuer: &Issuer<'_>,
    name: &str,
    subject: &[u8],
    csr: &Csr,
    serial: Serial,
    validity: Validity,
) -> Result<Issued, LeafError> {
    let alt_name = asn1::sequence(&[&asn1::element(0x86, &[name.as_bytes()])]);
    let mut extensions = device_usage();
    extensions.push(asn1::extension(SUBJECT_ALT_NAME, false, &alt_name));
    Ok(issue::sign(Template { serial, validity, subject, spki: csr.spki(), extensions }, issuer)?)
}
