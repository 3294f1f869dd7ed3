//! Whose certificate it is: from the issuer to the tenant, then the signature, the time and the purpose.
//!
//! Every tenant has issuing authorities of its own, and each is a trust anchor here; nothing that a peer sends besides
//! its own certificate is looked at. The tenant is that of the authority, and the name within the certificate must
//! agree. Whether the certificate is revoked or the device may connect is not known here: the registry decides that.

use std::collections::HashMap;
use std::time::Duration;

use base::{DeviceId, TenantId, Timestamp};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use fleetward_base as base;

use crate::certificate::{BadCertificate, Certificate};

/// An issuing authority of a tenant.
#[derive(Clone, Debug)]
pub struct Authority {
    pub tenant: TenantId,
    /// Its certificate, in DER.
    pub certificate: Vec<u8>,
}

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    Malformed(#[from] BadCertificate),
    #[error("the certificate was not issued by an authority of this installation")]
    UnknownIssuer,
    #[error("the certificate, or that of its authority, has expired")]
    Expired,
    #[error("the certificate is not valid yet")]
    NotYetValid,
    #[error("the certificate's signature does not hold")]
    BadSignature,
    #[error("the certificate is not one of a device: {0}")]
    Purpose(String),
    #[error("the certificate names no device of its authority's tenant")]
    Foreign,
    #[error("the authority's certificate cannot be used as an anchor")]
    BadAuthority,
}

impl TrustError {
    /// A stable word for logs, metrics and the journal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::BadSignature => "bad-signature",
            Self::Purpose(_) => "purpose",
            Self::Foreign => "foreign",
            Self::BadAuthority => "bad-authority",
        }
    }
}

/// A device's certificate that holds at the asked time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub tenant: TenantId,
    pub device: DeviceId,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// All issuing authorities, found by key id and name. Made anew when one is added, and then swapped in.
#[derive(Default)]
pub struct TrustIndex {
    by_key_id: HashMap<Vec<u8>, Vec<Entry>>,
}

struct Entry {
    tenant: TenantId,
    certificate: Certificate,
    anchor: TrustAnchor<'static>,
}

impl TrustIndex {
    /// # Errors
    /// [`TrustError::BadAuthority`] where a certificate is not that of an authority with a subject key id.
    pub fn new(authorities: impl IntoIterator<Item = Authority>) -> Result<Self, TrustError> {
        let mut by_key_id: HashMap<Vec<u8>, Vec<Entry>> = HashMap::new();
        for authority in authorities {
            let certificate = Certificate::parse(&authority.certificate)?;
            let key_id = certificate.subject_key_id.clone().ok_or(TrustError::BadAuthority)?;
            if !certificate.is_authority {
                return Err(TrustError::BadAuthority);
            }
            let der = CertificateDer::from(authority.certificate.as_slice());
            let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| TrustError::BadAuthority)?.to_owned();
            by_key_id.entry(key_id).or_default().push(Entry { tenant: authority.tenant, certificate, anchor });
        }
        Ok(Self { by_key_id })
    }

    /// Whose certificate `leaf` is, at `now`. The rest of the chain that came with it has no part in that: it is taken so
    /// that a verifier can pass on what it was given.
    ///
    /// # Errors
    /// [`TrustError`] says why it is nobody's.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Verified, TrustError> {
        let certificate = Certificate::parse(leaf)?;
        let entry = self.issuer_of(&certificate, now).ok_or(TrustError::UnknownIssuer)?;
        check_chain(leaf, &certificate, entry, now)?;
        let identity = certificate.identity().ok_or(TrustError::Foreign)?;
        if identity.tenant != entry.tenant {
            return Err(TrustError::Foreign);
        }
        Ok(Verified {
            tenant: identity.tenant,
            device: identity.device,
            serial: certificate.serial.to_string(),
            fingerprint: certificate.fingerprint(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
        })
    }

    /// How many authorities there are.
    pub fn len(&self) -> usize {
        self.by_key_id.values().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.by_key_id.is_empty()
    }

    /// The authority with the name and key that the certificate gives, one that is valid now before one that is not.
    fn issuer_of(&self, certificate: &Certificate, now: Timestamp) -> Option<&Entry> {
        let entries = self.by_key_id.get(certificate.authority_key_id.as_ref()?)?;
        let mut named = entries.iter().filter(|entry| entry.certificate.subject == certificate.issuer);
        let first = named.clone().next();
        named.find(|entry| within(&entry.certificate, now)).or(first)
    }
}

fn within(certificate: &Certificate, now: Timestamp) -> bool {
    // Certificates count in seconds, and the last one is included.
    certificate.not_before.secs() <= now.secs() && now.secs() <= certificate.not_after.secs()
}

fn check_chain(
    leaf: &CertificateDer<'_>,
    certificate: &Certificate,
    entry: &Entry,
    now: Timestamp,
) -> Result<(), TrustError> {
    if now.secs() < certificate.not_before.secs() {
        return Err(TrustError::NotYetValid);
    }
    // An anchor's own time is not looked at by the path validation, so it is here.
    for subject in [certificate, &entry.certificate] {
        if !within(subject, now) {
            return Err(TrustError::Expired);
        }
    }
    let seconds = u64::try_from(now.secs()).unwrap_or(0);
    let invalid = |error: webpki::Error| match error {
        webpki::Error::InvalidSignatureForPublicKey => TrustError::BadSignature,
        other => TrustError::Purpose(other.to_string()),
    };
    EndEntityCert::try_from(leaf)
        .map_err(invalid)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            std::slice::from_ref(&entry.anchor),
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::client_auth(),
            None,
            None,
        )
        .map_err(invalid)?;
    Ok(())
}

#[cfg(test)]
mod tests;
