//! How somebody who has no identity yet shows that it may have one.

use crate::lifecycle::Status;
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
        /// A token of a token service.
        Jwt => "jwt",
        /// A person let it in.
        Approval => "approval",
        /// The certificate that it already had.
        Renewal => "renewal",
    }
}

impl Way {
    /// Whether what is shown was given by somebody for this one enrolment. What was not (a factory's certificate, a key, a
    /// claim) is still there after the device was thrown out.
    pub const fn is_fresh_consent(self) -> bool {
        matches!(self, Self::Token | Self::Challenge | Self::Approval)
    }
}

/// Whether a device that is `status` may come in by this way. One that was suspended comes back only by consent that was
/// given since: what it has had all along must not undo a revocation.
pub const fn permits(status: Status, way: Way) -> bool {
    !matches!(status, Status::Suspended) || way.is_fresh_consent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspended_device_needs_fresh_consent() {
        for &way in Way::ALL {
            assert_eq!(permits(Status::Suspended, way), matches!(way.as_str(), "token" | "challenge" | "approval"));
            assert!(permits(Status::Claimed, way) && permits(Status::Active, way));
        }
    }
}
