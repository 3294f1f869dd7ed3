//! What the EST service of a tenant asks and offers beyond what it must.

use serde::{Deserialize, Serialize};

use super::Invalid;
use crate::text::text_enum;

text_enum! {
    /// What the challengePassword of a request is taken for (RFC 7030 §3.5).
    pub enum ChallengePassword("use of the challenge password") {
        /// A request that has one is bound by it to its TLS connection, and refused where it is not.
        Bound => "bound",
        /// Every request must be bound by it.
        Required => "required",
        /// It is the enrolment token, for clients that cannot send it in any other way.
        Token => "token",
        /// Nothing.
        Ignored => "ignored",
    }
}

text_enum! {
    /// How answers in base64 are laid out.
    pub enum Layout("layout of answers") {
        /// As the client's name asks for.
        Auto => "auto",
        OneLine => "one_line",
        /// In lines of 64 characters.
        Lines => "lines",
    }
}

/// The section `est`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EstPolicy {
    pub challenge_password: ChallengePassword,
    pub layout: Layout,
    /// Whether the server makes keys for devices that cannot (RFC 7030 §4.4). Such a key was once outside its device.
    pub server_keys: bool,
    /// Whether a certificate of a registered factory is enough to get one of ours.
    pub factory_certificates: bool,
}

impl Default for EstPolicy {
    fn default() -> Self {
        Self {
            challenge_password: ChallengePassword::Bound,
            layout: Layout::Auto,
            server_keys: false,
            factory_certificates: true,
        }
    }
}

impl EstPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}
