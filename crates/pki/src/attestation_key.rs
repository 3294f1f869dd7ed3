//! The certificate of a TPM's attestation key, by which the server says: this key is in that TPM.
//!
//! Usage 2.23.133.8.3 (tcg-kp-AIKCertificate) and nothing else, so that it opens no door as a client's certificate. The
//! subjectAltName is a permanentIdentifier (RFC 4043) with the hash of the endorsement key; no `urn:fleetward` name.

use const_oid::ObjectIdentifier;

use crate::asn1;
use crate::ca::{DIGITAL_SIGNATURE, extended_key_usage, key_usage};
use crate::certificate::SUBJECT_ALT_NAME;
use crate::issue::{self, IssueError, Issued, Issuer, Serial, Template, Validity};
use crate::name;

const ATTESTATION_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.8.3");
const PERMANENT_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.8.3");

/// Issues the certificate for the key `spki` in the TPM known by `hardware`, in the name of its device.
///
/// # Errors
/// [`IssueError`] where the authority does not sign or its time is over.
pub fn issue(
    issuer: &Issuer<'_>,
    names: (&str, &str),
    hardware: &str,
    spki: &[u8],
    serial: Serial,
    validity: Validity,
) -> Result<Issued, IssueError> {
    let (tenant, device) = names;
    let subject = name::write(Some(tenant), device);
    let identifier = asn1::element(0xa0, &[&asn1::sequence(&[&asn1::utf8(hardware)])]);
    let alt_name = asn1::element(0xa0, &[&asn1::oid(PERMANENT_IDENTIFIER), &identifier]);
    let extensions = vec![
        key_usage(DIGITAL_SIGNATURE),
        extended_key_usage(ATTESTATION_KEY),
        asn1::extension(SUBJECT_ALT_NAME, false, &asn1::sequence(&[&alt_name])),
    ];
    issue::sign(Template { serial, validity, subject: &subject, spki, extensions }, issuer)
}
