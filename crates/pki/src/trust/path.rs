//! What a path keeps to beyond what the library looks at: the usages of its keys, and the length that its anchor allows.
//!
//! The library passes over keyUsage, and of an anchor it takes the name, the key and the name constraints (RFC 5280 §6.1.1
//! leaves the rest open). A factory that wrote into its authority's certificate what that is good for is held to it.

use webpki::VerifiedPath;

use super::TrustError;
use crate::certificate::Certificate;

/// A device signs its hand-shake (RFC 8446 §4.4.2.4), and what is no authority signs no certificates (RFC 5280 §4.2.1.3).
pub(super) fn check_leaf(leaf: &Certificate) -> Result<(), TrustError> {
    match leaf.key_usage {
        Some(usage) if !usage.digital_signature() => Err(TrustError::Purpose("its key does not sign".to_owned())),
        Some(usage) if usage.key_cert_sign() => Err(TrustError::Purpose("its key signs certificates".to_owned())),
        _ => Ok(()),
    }
}

/// Holds a path that was found to its anchor and to what its authorities say of their keys.
pub(super) fn check(path: &VerifiedPath<'_>, anchor: &Certificate) -> Result<(), webpki::Error> {
    let mut between = 0;
    for above in path.intermediate_certificates() {
        let above = Certificate::parse(&above.der()).map_err(|_| webpki::Error::BadDer)?;
        if !above.may_sign_certificates() {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
        // RFC 5280 §4.2.1.9: those that an authority issued to itself do not count.
        between += usize::from(above.subject != above.issuer);
    }
    if anchor.path_length.is_some_and(|most| between > usize::from(most)) {
        return Err(webpki::Error::PathLenConstraintViolated);
    }
    if anchor.may_sign_certificates() { Ok(()) } else { Err(webpki::Error::EndEntityUsedAsCa) }
}
