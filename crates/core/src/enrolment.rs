//! How somebody who has no identity yet shows that it may have one.

use crate::text::text_enum;

text_enum! {
    /// The way in. Kept with each certificate, so that what came by one way can be found and revoked together.
    pub enum Way("way in") {
        /// A one-time token for one device.
        Token => "token",
        /// A certificate that the device was given where it was made.
        Factory => "factory",
        /// A claim certificate, by fleet provisioning.
        Claim => "claim",
        /// A SCEP challenge.
        Challenge => "challenge",
        /// A key derived from that of an enrolment group.
        SymmetricKey => "symmetric_key",
        /// A person let it in.
        Approval => "approval",
        /// The certificate that it already had.
        Renewal => "renewal",
    }
}
