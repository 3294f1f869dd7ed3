//! Whose certificate it is: from the issuer to the tenant, then the signature, the time and the purpose.
//!
//! Every tenant has issuing authorities of its own, and each is a trust anchor here; nothing that a peer sends besides
//! its own certificate is looked at. A tenant may also have registered the authorities of factories, below which
//! intermediates may come with the leaf. The tenant is that of the authority, and a name of ours within the certificate
//! must agree. Whether the certificate is revoked or the device may connect is not known here: the registry decides that.

mod path;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base::{DeviceId, TenantId, Timestamp};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use fleetward_base as base;

use crate::certificate::{BadCertificate, Certificate};
use crate::identity::{ClaimName, UnboundName};

/// Intermediates that are looked at; a peer may send more, and they are not read.
const INTERMEDIATES: usize = 4;
/// Authorities of one name that are tried for a certificate.
const CANDIDATES: usize = 8;
/// Certificates of one generation whose signatures are remembered; there are two generations.
const REMEMBERED: usize = 4096;

/// What an authority of the index vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours: the names in what it issued are names of this installation.
    Issuing,
    /// A factory's: what it issued says that somebody made a device, and gives it no name here.
    Factory,
}

/// An authority of a tenant.
#[derive(Clone, Debug)]
pub struct Authority {
    pub tenant: TenantId,
    pub kind: Kind,
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

/// A certificate with which somebody may ask for an identity, and do nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedClaim {
    pub tenant: TenantId,
    pub claim: String,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
    pub not_after: Timestamp,
}

/// A certificate of ours that names no device: the registry knows by its serial number whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedUnbound {
    pub tenant: TenantId,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

/// A certificate that an authority of a tenant signed and that names nobody of that tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedNameless {
    pub tenant: TenantId,
    /// Fingerprint of the authority that signed it.
    pub authority: String,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate in lower-case hexadecimal.
    pub fingerprint: String,
}

/// A certificate that a device was given where it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedFactory {
    /// The tenant that registered the factory's authority.
    pub tenant: TenantId,
    /// Fingerprint of that authority.
    pub authority: String,
    pub certificate: Certificate,
}

/// What a certificate that holds is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    Device(Verified),
    Unbound(VerifiedUnbound),
    Claim(VerifiedClaim),
    Factory(Box<VerifiedFactory>),
    /// Nobody: what we issue names somebody, so whoever made it has the key of the authority.
    Nameless(VerifiedNameless),
}

/// All authorities, found by key id or name. Made anew when one is added, and then swapped in.
#[derive(Default)]
pub struct TrustIndex {
    entries: Vec<Entry>,
    by_key_id: HashMap<Vec<u8>, Vec<usize>>,
    /// Factories' alone: what they issue may name its issuer and not the key.
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
    known: Mutex<Known>,
}

/// Certificates that were found to be what they say, by their hash, and under which authority of ours. The hand-shake, the
/// door and the use case behind it each ask about the same one: its signature is worth verifying once. What changes,
/// the time, is looked at each time, and an index with other authorities begins with nothing.
#[derive(Default)]
struct Known {
    recent: HashMap<[u8; 32], usize>,
    earlier: HashMap<[u8; 32], usize>,
}

impl Known {
    fn has(&self, leaf: &[u8; 32], at: usize) -> bool {
        [&self.recent, &self.earlier].into_iter().any(|known| known.get(leaf) == Some(&at))
    }

    fn keep(&mut self, leaf: [u8; 32], at: usize) {
        if self.recent.len() >= REMEMBERED {
            self.earlier = std::mem::take(&mut self.recent);
        }
        self.recent.insert(leaf, at);
    }
}

struct Entry {
    tenant: TenantId,
    kind: Kind,
    certificate: Certificate,
    anchor: TrustAnchor<'static>,
}

impl TrustIndex {
    /// # Errors
    /// [`TrustError::BadAuthority`] where a certificate is not that of an authority, or one of ours without a subject key
    /// id.
    pub fn new(authorities: impl IntoIterator<Item = Authority>) -> Result<Self, TrustError> {
        let mut index = Self::default();
        for authority in authorities {
            let certificate = Certificate::parse(&authority.certificate)?;
            if !certificate.is_authority {
                return Err(TrustError::BadAuthority);
            }
            let der = CertificateDer::from(authority.certificate.as_slice());
            let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| TrustError::BadAuthority)?.to_owned();
            let at = index.entries.len();
            match (&certificate.subject_key_id, authority.kind) {
                (Some(key_id), _) => index.by_key_id.entry(key_id.clone()).or_default().push(at),
                (None, Kind::Issuing) => return Err(TrustError::BadAuthority),
                (None, Kind::Factory) => {}
            }
            if authority.kind == Kind::Factory {
                index.by_subject.entry(certificate.subject.clone()).or_default().push(at);
            }
            index.entries.push(Entry { tenant: authority.tenant, kind: authority.kind, certificate, anchor });
        }
        Ok(index)
    }

    /// Whose device's certificate `leaf` is, at `now`.
    ///
    /// # Errors
    /// [`TrustError`] says why it is nobody's.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<Verified, TrustError> {
        match self.identify(leaf, intermediates, now, Duration::ZERO)? {
            Presented::Device(verified) => Ok(verified),
            _ => Err(TrustError::Foreign),
        }
    }

    /// Which claim's certificate `leaf` is, at `now`.
    ///
    /// # Errors
    /// [`TrustError`] says why it is none.
    pub fn verify_claim(&self, leaf: &CertificateDer<'_>, now: Timestamp) -> Result<VerifiedClaim, TrustError> {
        match self.identify(leaf, &[], now, Duration::ZERO)? {
            Presented::Claim(verified) => Ok(verified),
            _ => Err(TrustError::Foreign),
        }
    }

    /// What `leaf` is, at `now`. One that ended at most `grace` ago counts as if it were its last moment: for whoever asks
    /// only who is there, and decides on the time afterwards.
    ///
    /// # Errors
    /// [`TrustError`] says why it is nobody's.
    pub fn identify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
        grace: Duration,
    ) -> Result<Presented, TrustError> {
        let certificate = Certificate::parse(leaf)?;
        let ended = now.since(certificate.not_after);
        let at = if now > certificate.not_after && ended <= grace { certificate.not_after } else { now };
        let intermediates = intermediates.get(..INTERMEDIATES).unwrap_or(intermediates);
        let mut refused = TrustError::UnknownIssuer;
        let hash = sha256(leaf);
        for (turn, (number, entry)) in self.candidates(&certificate, intermediates, at).into_iter().enumerate() {
            // What comes with a leaf has a part only below a factory.
            let below = if entry.kind == Kind::Factory { intermediates } else { &[] };
            // What we issued has begun: where it has not, it is this machine's clock that went back.
            let at = if entry.kind == Kind::Issuing { at.max(certificate.not_before) } else { at };
            let known = entry.kind == Kind::Issuing && self.known().has(&hash, number);
            let checked = check_time(&certificate, entry, at)
                .and_then(|()| if known { Ok(()) } else { check_chain((leaf, &certificate), below, entry, at) });
            if checked.is_ok() && !known && entry.kind == Kind::Issuing {
                self.known().keep(hash, number);
            }
            match checked {
                Ok(()) => return Ok(presented(certificate, entry)),
                Err(error) if turn == 0 => refused = error,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many authorities there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The authorities that may have issued the certificate, the likeliest first: ours before factories', one that is valid
    /// now before one that is not. There may be several, since a factory chooses its own name and key id: whichever
    /// comes first, only the one whose key signed counts.
    fn candidates(
        &self,
        certificate: &Certificate,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Vec<(usize, &Entry)> {
        let by_key = certificate.authority_key_id.as_ref().and_then(|id| self.by_key_id.get(id));
        let named = by_key.into_iter().flatten().filter_map(|&at| Some((at, self.entries.get(at)?)));
        let mut found: Vec<(usize, &Entry)> =
            named.filter(|(_, entry)| entry.certificate.subject == certificate.issuer).collect();
        if !found.iter().any(|(_, entry)| entry.kind == Kind::Issuing) && !self.by_subject.is_empty() {
            let above = intermediates.iter().filter_map(|der| Some(Certificate::parse(der).ok()?.issuer));
            for issuer in std::iter::once(certificate.issuer.clone()).chain(above) {
                let factories = self.by_subject.get(&issuer).into_iter().flatten();
                found.extend(factories.filter_map(|&at| Some((at, self.entries.get(at)?))));
            }
        }
        found.sort_by_key(|(_, entry)| (entry.kind == Kind::Factory, !within(&entry.certificate, now)));
        found.truncate(CANDIDATES);
        found
    }
}

fn presented(certificate: Certificate, entry: &Entry) -> Presented {
    let tenant = entry.tenant.clone();
    if entry.kind == Kind::Factory {
        let authority = entry.certificate.fingerprint();
        return Presented::Factory(Box::new(VerifiedFactory { tenant, authority, certificate }));
    }
    let (serial, fingerprint) = (certificate.serial.to_string(), certificate.fingerprint());
    let (not_before, not_after) = (certificate.not_before, certificate.not_after);
    if let Some(ClaimName { tenant: named, claim }) = certificate.claim() {
        let claim = VerifiedClaim { tenant, claim, serial, fingerprint, not_after };
        return if named == claim.tenant { Presented::Claim(claim) } else { nameless(&certificate, entry) };
    }
    if let Some(UnboundName { tenant: named, .. }) = certificate.unbound() {
        let unbound = VerifiedUnbound { tenant, serial, fingerprint, not_before, not_after };
        return if named == unbound.tenant { Presented::Unbound(unbound) } else { nameless(&certificate, entry) };
    }
    let Some(identity) = certificate.identity().filter(|identity| identity.tenant == tenant) else {
        return nameless(&certificate, entry);
    };
    Presented::Device(Verified { tenant, device: identity.device, serial, fingerprint, not_before, not_after })
}

fn nameless(certificate: &Certificate, entry: &Entry) -> Presented {
    Presented::Nameless(VerifiedNameless {
        tenant: entry.tenant.clone(),
        authority: entry.certificate.fingerprint(),
        serial: certificate.serial.to_string(),
        fingerprint: certificate.fingerprint(),
    })
}

fn within(certificate: &Certificate, now: Timestamp) -> bool {
    // Certificates count in seconds, and the last one is included.
    certificate.not_before.secs() <= now.secs() && now.secs() <= certificate.not_after.secs()
}

fn sha256(leaf: &CertificateDer<'_>) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, leaf).as_ref());
    hash
}

fn check_time(certificate: &Certificate, entry: &Entry, now: Timestamp) -> Result<(), TrustError> {
    if now.secs() < certificate.not_before.secs() {
        return Err(TrustError::NotYetValid);
    }
    // An anchor's own time is not looked at by the path validation, so it is here.
    for subject in [certificate, &entry.certificate] {
        if !within(subject, now) {
            return Err(TrustError::Expired);
        }
    }
    Ok(())
}

fn check_chain(
    (leaf, certificate): (&CertificateDer<'_>, &Certificate),
    intermediates: &[CertificateDer<'_>],
    entry: &Entry,
    now: Timestamp,
) -> Result<(), TrustError> {
    let seconds = u64::try_from(now.secs()).unwrap_or(0);
    let invalid = |error: webpki::Error| match error {
        webpki::Error::InvalidSignatureForPublicKey => TrustError::BadSignature,
        other => TrustError::Purpose(other.to_string()),
    };
    path::check_leaf(certificate)?;
    EndEntityCert::try_from(leaf)
        .map_err(invalid)?
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            std::slice::from_ref(&entry.anchor),
            intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::client_auth(),
            None,
            Some(&|found| path::check(found, &entry.certificate)),
        )
        .map_err(invalid)?;
    Ok(())
}

#[cfg(test)]
mod tests;
