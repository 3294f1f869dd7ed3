//! A certificate of a device, or of one that is to become a device, that somebody else issued for us: held to what our own
//! would say before it is kept.
//!
//! An external authority is asked for one certificate and trusted for none. What comes back has the key of the request,
//! one name (the one that was asked for, so that nothing is smuggled beside it), the usage of a TLS client and no more, a life
//! that our policy allows, and the signature of an authority that was registered for the tenant.

use std::time::Duration;

use base::{DeviceId, TenantId, Timestamp};
use const_oid::ObjectIdentifier;
use der::Decode;
use rustls_pki_types::CertificateDer;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

use fleetward_base as base;

use crate::ca::{CLIENT_AUTH, SERVER_AUTH};
use crate::certificate::{BadCertificate, Certificate, EXTENDED_KEY_USAGE, KEY_USAGE};
use crate::csr::Csr;
use crate::identity::{ClaimName, Identity, UnboundName};
use crate::issue::{Issued, Validity};
use crate::name;
use crate::trust::{Authority, Kind, Presented, TrustError, TrustIndex};

/// Whom a certificate is to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    Device(&'a DeviceId),
    /// A claim, by its name.
    Claim(&'a str),
    /// Nobody yet, under an id of its own.
    Unbound(&'a str),
}

impl<'a> Named<'a> {
    /// The one name that the certificate has.
    pub fn uri(self, tenant: &TenantId) -> String {
        let tenant = tenant.clone();
        match self {
            Self::Device(device) => Identity { tenant, device: device.clone() }.to_string(),
            Self::Claim(claim) => ClaimName { tenant, claim: claim.to_owned() }.to_string(),
            Self::Unbound(id) => UnboundName { tenant, id: id.to_owned() }.to_string(),
        }
    }

    /// The common name. What is no device has the one of its request, which says nothing and which an issuer may hold the
    /// request to.
    pub fn common_name(self, csr: &'a Csr) -> &'a str {
        match self {
            Self::Device(device) => device.as_str(),
            Self::Claim(name) | Self::Unbound(name) => csr.common_name().unwrap_or(name),
        }
    }
}

/// What was asked for.
pub struct Wanted<'a> {
    pub tenant: &'a TenantId,
    pub named: Named<'a>,
    pub csr: &'a Csr,
    /// The certificate must not last longer.
    pub not_after: Timestamp,
    /// The authorities (DER) that may have signed it.
    pub authorities: &'a [Vec<u8>],
}

/// Why a certificate from elsewhere is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignError {
    #[error(transparent)]
    Malformed(#[from] BadCertificate),
    #[error("it is for another key than the request")]
    Key,
    #[error("its subjectAltName is not {0} alone")]
    AltName(String),
    #[error("its subject names another device or tenant")]
    Subject,
    #[error("its usage is not that of a TLS client: {0}")]
    Usage(&'static str),
    #[error("it lasts until {found}, longer than {allowed}")]
    TooLong { found: Timestamp, allowed: Timestamp },
    #[error("its serial number is longer than 20 bytes")]
    Serial,
    #[error("it does not hold: {0}")]
    Untrusted(#[from] TrustError),
}

/// A certificate as it came back, held to what was wanted, and the fingerprint of the authority that signed it.
///
/// # Errors
/// [`ForeignError`] says in what it differs from what ours would be.
pub fn check(der: &[u8], wanted: &Wanted<'_>, now: Timestamp) -> Result<(Issued, String), ForeignError> {
    let certificate = Certificate::parse(der)?;
    if certificate.spki != wanted.csr.spki() {
        return Err(ForeignError::Key);
    }
    let uri = wanted.named.uri(wanted.tenant);
    let found = match wanted.named {
        Named::Device(_) => certificate.identity().map(|name| name.to_string()),
        Named::Claim(_) => certificate.claim().map(|name| name.to_string()),
        Named::Unbound(_) => certificate.unbound().map(|name| name.to_string()),
    };
    if found.as_ref() != Some(&uri) {
        return Err(ForeignError::AltName(uri));
    }
    check_subject(&certificate, wanted)?;
    check_usage(&certificate)?;
    if certificate.not_after > wanted.not_after {
        return Err(ForeignError::TooLong { found: certificate.not_after, allowed: wanted.not_after });
    }
    // The index takes one that has not begun for one of ours whose clock went back; this is another's clock.
    if certificate.not_before > now {
        return Err(TrustError::NotYetValid.into());
    }
    if certificate.serial.is_longer_than(20) {
        return Err(ForeignError::Serial);
    }
    let mut last = TrustError::UnknownIssuer;
    for authority in wanted.authorities {
        match signed_by(der, wanted.tenant, authority, now) {
            Ok(fingerprint) => {
                let validity = Validity { not_before: certificate.not_before, not_after: certificate.not_after };
                let (serial, fingerprint_of_leaf) = (certificate.serial.clone(), certificate.fingerprint());
                let issued = Issued { der: der.to_vec(), serial, fingerprint: fingerprint_of_leaf, validity };
                return Ok((issued, fingerprint));
            }
            Err(TrustError::UnknownIssuer) => {}
            Err(error) => last = error,
        }
    }
    Err(last.into())
}

/// An authority that may be registered for a tenant: one that the trust index takes.
///
/// # Errors
/// [`TrustError`] where it is none.
pub fn check_authority(der: &[u8], tenant: &TenantId) -> Result<Certificate, TrustError> {
    TrustIndex::new([Authority { tenant: tenant.clone(), kind: Kind::Issuing, certificate: der.to_vec() }])?;
    Ok(Certificate::parse(der)?)
}

fn signed_by(der: &[u8], tenant: &TenantId, authority: &[u8], now: Timestamp) -> Result<String, TrustError> {
    let index =
        TrustIndex::new([Authority { tenant: tenant.clone(), kind: Kind::Issuing, certificate: authority.to_vec() }])?;
    match index.identify(&CertificateDer::from(der), &[], now, Duration::ZERO)? {
        Presented::Device(_) | Presented::Claim(_) | Presented::Unbound(_) => {}
        Presented::Factory(_) | Presented::Nameless(_) => return Err(TrustError::Foreign),
    }
    let authority = Certificate::parse(authority)?;
    let leaf = Certificate::parse(der)?;
    // No leaf outlives who vouches for it.
    if leaf.not_after > authority.not_after { Err(TrustError::Expired) } else { Ok(authority.fingerprint()) }
}

/// An authority elsewhere may write the subject in other bytes (cfssl and Vault do); what it says must be the same.
fn check_subject(certificate: &Certificate, wanted: &Wanted<'_>) -> Result<(), ForeignError> {
    if wanted.csr.has_subject() && certificate.subject == wanted.csr.subject() {
        return Ok(());
    }
    let names = name::read(&certificate.subject).map_err(|_| ForeignError::Subject)?;
    let known = |name: &String| match wanted.named {
        Named::Device(device) => name == device.as_str(),
        Named::Claim(claim) => name == claim || wanted.csr.common_name() == Some(name),
        Named::Unbound(id) => name == id || wanted.csr.common_name() == Some(name),
    };
    let one = matches!(names.common_names.as_slice(), [name] if known(name));
    let foreign = |name: &String| name != wanted.tenant.as_str() && name.parse::<TenantId>().is_ok();
    if one && !names.organizations.iter().any(foreign) { Ok(()) } else { Err(ForeignError::Subject) }
}

fn check_usage(certificate: &Certificate) -> Result<(), ForeignError> {
    if certificate.is_authority {
        return Err(ForeignError::Usage("it is an authority"));
    }
    let (mut usage, mut purposes) = (None, None);
    for (id, value) in certificate.extensions() {
        match id {
            KEY_USAGE => usage = KeyUsage::from_der(&value).ok(),
            EXTENDED_KEY_USAGE => purposes = ExtendedKeyUsage::from_der(&value).ok(),
            _ => {}
        }
    }
    let usage = usage.ok_or(ForeignError::Usage("it has no keyUsage"))?;
    if !usage.digital_signature() {
        return Err(ForeignError::Usage("it does not sign"));
    }
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(ForeignError::Usage("it signs certificates"));
    }
    let purposes = purposes.ok_or(ForeignError::Usage("it has no extendedKeyUsage"))?.0;
    if !purposes.contains(&CLIENT_AUTH) {
        return Err(ForeignError::Usage("clientAuth is missing"));
    }
    // The stock profiles of step-ca and Vault add serverAuth, which without a host name is good for nothing.
    let allowed = |purpose: &ObjectIdentifier| [CLIENT_AUTH, SERVER_AUTH].contains(purpose);
    if purposes.iter().all(allowed) { Ok(()) } else { Err(ForeignError::Usage("it has other purposes")) }
}

#[cfg(test)]
mod tests;
