//! Which endorsement keys count: by their maker's certificate, or because somebody wrote down that a TPM with this key was
//! built into this device (requirement I16).
//!
//! Three things may speak for a key, and one against it: the manufacturing database names another key for the device, or
//! another device for the key. What was written down for somebody else is no word for this one, whatever the rule.

use crate::text::text_enum;

text_enum! {
    /// What has to vouch for an endorsement key.
    pub enum EndorsedBy("endorsement") {
        /// A chain of certificates to a root that the tenant trusts.
        Chain => "chain",
        /// The manufacturing database, or the tenant's list of single keys.
        Inventory => "inventory",
        /// Any of them.
        Either => "either",
    }
}

/// What the manufacturing database says of the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// It has no key for the device, and no device for the key.
    #[default]
    Nothing,
    /// The device has this key.
    Same,
    /// The device has another key, or another device has this one.
    Other,
}

/// What speaks for the key of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Endorsements {
    /// It stands on the tenant's list of single keys.
    pub listed: bool,
    pub written: Written,
    /// Its certificate leads to a root that the tenant trusts.
    pub chain: bool,
}

/// What vouches for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voucher {
    Listed,
    Inventory,
    Chain,
}

/// Why nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEndorsed {
    #[error("the manufacturing database has another endorsement key for this device, or another device for this key")]
    Other,
    #[error("the endorsement key has no certificate of a root that is trusted here")]
    NoChain,
    #[error("the endorsement key is neither in the manufacturing database nor on the list")]
    NotWritten,
    #[error("the endorsement key has no certificate of a root that is trusted here, and nobody wrote it down")]
    Nothing,
}

impl EndorsedBy {
    /// Whether a key that this vouches for counts under the rule. Asked again when evidence comes: the rule may have
    /// become another since the key was activated.
    pub const fn takes(self, voucher: Voucher) -> bool {
        match (self, voucher) {
            (Self::Either, _)
            | (Self::Chain, Voucher::Chain)
            | (Self::Inventory, Voucher::Listed | Voucher::Inventory) => true,
            (Self::Chain, Voucher::Listed | Voucher::Inventory) | (Self::Inventory, Voucher::Chain) => false,
        }
    }
}

/// What vouches for the key under the rule.
///
/// # Errors
/// [`NotEndorsed`].
pub fn endorsed(rule: EndorsedBy, found: Endorsements) -> Result<Voucher, NotEndorsed> {
    if found.written == Written::Other {
        return Err(NotEndorsed::Other);
    }
    let vouchers = [
        (found.listed, Voucher::Listed),
        (found.chain, Voucher::Chain),
        (found.written == Written::Same, Voucher::Inventory),
    ];
    let first = vouchers.into_iter().find(|(holds, voucher)| *holds && rule.takes(*voucher));
    first.map(|(_, voucher)| voucher).ok_or(match rule {
        EndorsedBy::Chain => NotEndorsed::NoChain,
        EndorsedBy::Inventory => NotEndorsed::NotWritten,
        EndorsedBy::Either => NotEndorsed::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        use EndorsedBy::{Chain, Either, Inventory};
        use NotEndorsed::{NoChain, NotWritten, Nothing, Other};
        let table = [
            // listed, written, chain          by chain             by inventory                 by either
            (false, Written::Nothing, false, [Err(NoChain), Err(NotWritten), Err(Nothing)]),
            (false, Written::Nothing, true, [Ok(Voucher::Chain), Err(NotWritten), Ok(Voucher::Chain)]),
            (false, Written::Same, false, [Err(NoChain), Ok(Voucher::Inventory), Ok(Voucher::Inventory)]),
            (false, Written::Same, true, [Ok(Voucher::Chain), Ok(Voucher::Inventory), Ok(Voucher::Chain)]),
            (true, Written::Nothing, false, [Err(NoChain), Ok(Voucher::Listed), Ok(Voucher::Listed)]),
            (true, Written::Nothing, true, [Ok(Voucher::Chain), Ok(Voucher::Listed), Ok(Voucher::Listed)]),
            (true, Written::Same, false, [Err(NoChain), Ok(Voucher::Listed), Ok(Voucher::Listed)]),
            (true, Written::Same, true, [Ok(Voucher::Chain), Ok(Voucher::Listed), Ok(Voucher::Listed)]),
            (false, Written::Other, false, [Err(Other); 3]),
            (false, Written::Other, true, [Err(Other); 3]),
            (true, Written::Other, false, [Err(Other); 3]),
            (true, Written::Other, true, [Err(Other); 3]),
        ];
        for (listed, written, chain, expected) in table {
            let found = Endorsements { listed, written, chain };
            for (rule, expected) in [Chain, Inventory, Either].into_iter().zip(expected) {
                assert_eq!(endorsed(rule, found), expected, "{rule} {found:?}");
                assert!(expected.is_err() || expected.is_ok_and(|voucher| rule.takes(voucher)), "{rule} {found:?}");
            }
        }
    }
}
