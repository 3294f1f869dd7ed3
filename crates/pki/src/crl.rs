//! Certificate revocation lists (RFC 5280 §5), for those who do not ask the registry: proxies, other brokers, auditors.
//!
//! A list is complete for its authority, or one shard of it. A shard has the certificates whose serial number ends in
//! its label, one or two hexadecimal digits, and says so in a critical IssuingDistributionPoint with the URL that those
//! certificates carry. Serial numbers are random, so shards are of one size. Delta lists are not made: hardly anybody
//! reads them. Numbers and times are the caller's to keep rising; nothing here knows an earlier list.

pub mod shards;

use std::fmt;
use std::str::FromStr;

use base::Timestamp;
use const_oid::ObjectIdentifier;

use fleetward_base as base;

use crate::asn1;
use crate::certificate::AUTHORITY_KEY_ID;
use crate::issue::{IssueError, Issuer, Serial};

const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const REASON_CODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const ISSUING_DISTRIBUTION_POINT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.28");

/// Why a certificate was revoked (RFC 5280 §5.3.1). A hold is missing: what was revoked here is never taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Unspecified,
    KeyCompromise,
    CaCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

impl Reason {
    pub const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The number that it has in lists and answers.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key_compromise",
            Self::CaCompromise => "ca_compromise",
            Self::AffiliationChanged => "affiliation_changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation_of_operation",
            Self::PrivilegeWithdrawn => "privilege_withdrawn",
        }
    }

    /// The reason that a record's words stand for. People write what they like there; what is none of the known words is
    /// unspecified.
    pub fn of_words(words: &str) -> Self {
        match words {
            "report_lost" | "lost" | "stolen" => Self::KeyCompromise,
            "decommission" => Self::CessationOfOperation,
            "suspend" => Self::PrivilegeWithdrawn,
            other => other.parse().unwrap_or(Self::Unspecified),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a reason: unspecified, key_compromise, ca_compromise, affiliation_changed, superseded, \
     cessation_of_operation or privilege_withdrawn"
)]
pub struct BadReason;

impl FromStr for Reason {
    type Err = BadReason;

    fn from_str(text: &str) -> Result<Self, BadReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(BadReason)
    }
}

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    pub serial: Serial,
    pub at: Timestamp,
    pub reason: Reason,
}

/// What a list will say. `url` is given for a shard alone.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// Higher than that of every earlier list of this authority and shard.
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    pub entries: &'a [Revoked],
    pub url: Option<&'a str>,
}

/// Signs a list; its DER.
///
/// # Errors
/// [`IssueError`] where the authority does not sign.
pub fn sign(list: &List<'_>, issuer: &Issuer<'_>) -> Result<Vec<u8>, IssueError> {
    let key_id = issuer.certificate.subject_key_id.as_deref().ok_or(IssueError::Authority)?;
    let algorithm = issuer.signer.algorithm().identifier();
    let authority_key_id = asn1::sequence(&[&asn1::element(0x80, &[key_id])]);
    let point = list.url.map(distribution_point).unwrap_or_default();
    let extensions = asn1::sequence(&[
        &asn1::extension(AUTHORITY_KEY_ID, false, &authority_key_id),
        &asn1::extension(CRL_NUMBER, false, &asn1::unsigned(&list.number.to_be_bytes())),
        &point,
    ]);
    let tbs = asn1::sequence(&[
        &asn1::unsigned(&[1]),
        &algorithm,
        &issuer.certificate.subject,
        &asn1::time(list.this_update),
        &asn1::time(list.next_update),
        &entries(list.entries),
        &asn1::element(0xa0, &[&extensions]),
    ]);
    let signature = issuer.signer.sign(&tbs)?;
    Ok(asn1::sequence(&[&tbs, &algorithm, &asn1::bits(&signature)]))
}

/// IssuingDistributionPoint { distributionPoint [0] { fullName [0] { URI } } }, critical (RFC 5280 §5.2.5).
fn distribution_point(url: &str) -> Vec<u8> {
    let name = asn1::element(0xa0, &[&asn1::element(0xa0, &[&asn1::uri(url)])]);
    asn1::extension(ISSUING_DISTRIBUTION_POINT, true, &asn1::sequence(&[&name]))
}

/// revokedCertificates, absent where there are none (RFC 5280 §5.1.2.6).
fn entries(entries: &[Revoked]) -> Vec<u8> {
    if entries.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::with_capacity(entries.len() * 50);
    for entry in entries {
        // An unspecified reason is better not given (§5.3.1).
        let reason = match entry.reason {
            Reason::Unspecified => Vec::new(),
            reason => {
                let code = asn1::element(asn1::ENUMERATED, &[&[reason.code()]]);
                asn1::sequence(&[&asn1::extension(REASON_CODE, false, &code)])
            }
        };
        let serial = asn1::unsigned(entry.serial.as_bytes());
        lines.extend_from_slice(&asn1::sequence(&[&serial, &asn1::time(entry.at), &reason]));
    }
    asn1::sequence(&[&lines])
}

#[cfg(test)]
mod tests {
    use base::{Rng, SeededRng};
    use der::{Decode, Encode};
    use std::time::Duration;
    use x509_cert::crl::CertificateList;

    use super::*;
    use crate::ca;
    use crate::certificate::Certificate;
    use crate::issue::Validity;
    use crate::key::SoftKey;

    fn authority() -> (Certificate, SoftKey) {
        let (key, _) = SoftKey::generate();
        let now = Timestamp::from_secs(1_795_171_980);
        let validity = Validity { not_before: now, not_after: now.plus(Duration::from_secs(86_400 * 365)) };
        let rng = SeededRng::new(3);
        let root = ca::root("Test", Serial::generate(&rng), validity, &key).expect("a root");
        (Certificate::parse(&root.der).expect("it reads"), key)
    }

    fn revoked(rng: &dyn Rng, reason: Reason) -> Revoked {
        Revoked { serial: Serial::generate(rng), at: Timestamp::from_secs(1_795_172_000), reason }
    }

    #[test]
    fn what_is_written_reads_back_and_is_der() {
        let (certificate, key) = authority();
        let issuer = Issuer::new(&certificate, &key).expect("it fits");
        let rng = SeededRng::new(1);
        let some: Vec<Revoked> = Reason::ALL.into_iter().map(|reason| revoked(&rng, reason)).collect();
        for (entries, url) in
            [(&some[..0], None), (&some[..], None), (&some[..], Some("http://a.example/pki/x/crl/3.der"))]
        {
            let now = Timestamp::from_secs(1_795_172_100);
            let list =
                List { number: 0xff00, this_update: now, next_update: now.plus(Duration::from_secs(60)), entries, url };
            let der = sign(&list, &issuer).expect("it signs");
            let read = CertificateList::from_der(&der).expect("a list");
            assert_eq!(read.to_der().expect("DER"), der, "the form that DER wants");
            let lines = read.tbs_cert_list.revoked_certificates.unwrap_or_default();
            assert_eq!(lines.len(), entries.len());
            for (line, entry) in lines.iter().zip(entries) {
                assert_eq!(Serial::from_bytes(line.serial_number.as_bytes()), entry.serial);
                assert_eq!(line.crl_entry_extensions.is_none(), entry.reason == Reason::Unspecified);
            }
            let extensions = read.tbs_cert_list.crl_extensions.expect("extensions");
            let critical: Vec<_> = extensions.iter().filter(|extension| extension.critical).collect();
            assert_eq!(critical.len(), usize::from(url.is_some()));
        }
    }

    #[test]
    fn a_verifier_of_another_house_reads_it() {
        let (certificate, key) = authority();
        let issuer = Issuer::new(&certificate, &key).expect("it fits");
        let rng = SeededRng::new(2);
        let entries = [revoked(&rng, Reason::KeyCompromise), revoked(&rng, Reason::Unspecified)];
        let now = Timestamp::from_secs(1_795_172_100);
        let next_update = now.plus(Duration::from_secs(86_400));
        let der = sign(&List { number: 7, this_update: now, next_update, entries: &entries, url: None }, &issuer);
        let der = der.expect("it signs");
        // It reads each line and refuses what it does not know.
        webpki::OwnedCertRevocationList::from_der(&der).expect("webpki reads it");
    }

    #[test]
    fn words_are_read_for_what_they_mean() {
        for (words, reason) in [
            ("key_compromise", Reason::KeyCompromise),
            ("stolen", Reason::KeyCompromise),
            ("report_lost", Reason::KeyCompromise),
            ("decommission", Reason::CessationOfOperation),
            ("a fire in the lab", Reason::Unspecified),
            ("certificate_hold", Reason::Unspecified),
        ] {
            assert_eq!(Reason::of_words(words), reason, "{words}");
        }
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
    }
}
