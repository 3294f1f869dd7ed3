//! CsrAttrs: what a server wants in a request (RFC 7030 §4.5.2, as corrected by RFC 8951 §3.5).
//!
//! A sequence of object identifiers and attributes. Written for our clients, and for those that were made before RFC 9908
//! gave it a template: an identifier alone asks for that attribute, an attribute says which values it may have.

use const_oid::ObjectIdentifier;

use crate::asn1;

const CHALLENGE_PASSWORD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.7");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// The wishes as DER: a P-256 key, a signature with SHA-256, and where `bound` the challengePassword that binds the request to
/// its connection.
pub fn write(bound: bool) -> Vec<u8> {
    let key = asn1::sequence(&[&asn1::oid(EC_PUBLIC_KEY), &asn1::element(asn1::SET, &[&asn1::oid(P256)])]);
    let digest = asn1::oid(ECDSA_SHA256);
    let challenge = if bound { asn1::oid(CHALLENGE_PASSWORD) } else { Vec::new() };
    asn1::sequence(&[&challenge, &key, &digest])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::hex;

    #[test]
    fn the_bytes() {
        let key = "301506072a8648ce3d0201310a06082a8648ce3d030107";
        let digest = "06082a8648ce3d040302";
        assert_eq!(hex(&write(false)), format!("3021{key}{digest}"));
        assert_eq!(hex(&write(true)), format!("302c06092a864886f70d010907{key}{digest}"));
    }
}
