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
use crate::identity::Identity;
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
    let alt_name = asn1::sequence(&[&asn1::element(0x86, &[identity.as_bytes()])]);
    let mut extensions = device_usage();
    extensions.push(asn1::extension(SUBJECT_ALT_NAME, false, &alt_name));
    Ok(issue::sign(Template { serial, validity, subject, spki: csr.spki(), extensions }, issuer)?)
}
