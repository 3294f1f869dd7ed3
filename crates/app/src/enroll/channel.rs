//! Binding a request to the TLS connection that it came over (RFC 7030 §3.5, RFC 9266).
//!
//! A client may put a value of its connection into the challengePassword of its request, so that somebody between the two
//! ends who has the client's key sign a request cannot bring it as its own. TLS 1.3 has that value from the exporter; that
//! of TLS 1.2 (`tls-unique`) cannot be had here, and a request that has one over TLS 1.2 is refused, not believed.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_core::identity_policy::{ChallengePassword, EstPolicy};
use fleetward_pki::{Csr, SoftKey, csr};

use super::refusal::{Fault, Refusal};
use crate::error::Error;

/// The label of the exporter (RFC 9266 §2).
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";
pub const EXPORTER_BYTES: usize = 32;

/// What is known of the connection that a request came over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// Nothing: the protocol has another way to bind, or none.
    #[default]
    Unknown,
    Tls12,
    /// `tls-exporter`.
    Tls13([u8; EXPORTER_BYTES]),
}

/// A certificate request and the connection that it came over.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// PKCS#10, DER.
    pub der: &'a [u8],
    pub channel: Channel,
    /// Stands in for the key of the request, which is then only proof that somebody could sign.
    pub(super) server_key: Option<&'a SoftKey>,
}

impl<'a> Request<'a> {
    pub const fn new(der: &'a [u8], channel: Channel) -> Self {
        Self { der, channel, server_key: None }
    }

    /// Reads the request and holds it to what the tenant wants of every request.
    pub(super) fn read(&self, policy: &EstPolicy) -> Result<Csr, Fault> {
        let csr = csr::parse(self.der)?;
        check(policy.challenge_password, &csr, self.channel)?;
        match self.server_key {
            None => Ok(csr),
            // RFC 7030 §4.4.1: a server that cannot encrypt as asked must not answer in the clear.
            Some(_) if csr.wants_encrypted_key() => {
                let reason = "keys are given as they are, within TLS; send a request without a DecryptKeyIdentifier";
                let error = Error::invalid("DecryptKeyIdentifier", reason);
                Err(Fault::Refused(Refusal { cause: "server-key-encryption", error }))
            }
            Some(key) if policy.server_keys => Ok(csr.with_key(key)),
            Some(_) => {
                let reason = "this tenant's devices make their own keys (policy est.server_keys)";
                Err(Fault::Refused(Refusal {
                    cause: "server-keys-off",
                    error: Error::conflict("server-keys-off", reason),
                }))
            }
        }
    }
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({} bytes)", self.der.len())
    }
}

impl<'a> From<&'a Vec<u8>> for Request<'a> {
    fn from(der: &'a Vec<u8>) -> Self {
        Self::new(der, Channel::Unknown)
    }
}

impl<'a> From<&'a [u8]> for Request<'a> {
    fn from(der: &'a [u8]) -> Self {
        Self::new(der, Channel::Unknown)
    }
}

/// Holds a request to its connection, as far as the tenant's policy asks for it.
pub(super) fn check(policy: ChallengePassword, csr: &Csr, channel: Channel) -> Result<(), Fault> {
    let refuse = |cause, reason: &str| {
        Err(Fault::Refused(Refusal { cause, error: Error::invalid("challengePassword", reason) }))
    };
    let required = match policy {
        ChallengePassword::Token | ChallengePassword::Ignored => return Ok(()),
        ChallengePassword::Bound => false,
        ChallengePassword::Required => true,
    };
    match (csr.challenge_password(), channel) {
        (_, Channel::Unknown) => Ok(()),
        (None, _) if required => refuse(
            "channel-binding-missing",
            "bind the request to its connection: base64 of tls-exporter (RFC 9266), over TLS 1.3",
        ),
        (None, _) => Ok(()),
        (Some(_), Channel::Tls12) => {
            refuse("channel-binding-tls12", "a request can be bound to a connection of TLS 1.3 only (RFC 9266)")
        }
        (Some(said), Channel::Tls13(expected)) => {
            let said = STANDARD.decode(said).unwrap_or_default();
            if verify_slices_are_equal(&said, &expected).is_ok() {
                return Ok(());
            }
            refuse("channel-binding-mismatch", "the request is bound to another connection")
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetward_pki::name;

    use super::*;

    const BOUND: [u8; EXPORTER_BYTES] = [7; EXPORTER_BYTES];

    fn request(password: Option<&[u8]>) -> Csr {
        let key = SoftKey::generate().0;
        let der = csr::write_with_password(&name::write(None, "gw-1"), &[], password, &key).expect("signs");
        csr::parse(&der).expect("good")
    }

    fn cause(policy: ChallengePassword, password: Option<&[u8]>, channel: Channel) -> &'static str {
        match check(policy, &request(password), channel) {
            Ok(()) => "-",
            Err(Fault::Refused(refusal)) => refusal.cause,
            Err(Fault::Failed(_)) => "failed",
        }
    }

    #[test]
    fn what_binds() {
        use ChallengePassword::{Bound, Ignored, Required, Token};
        let good = STANDARD.encode(BOUND);
        let (good, other) = (Some(good.as_bytes()), Some(&b"tls-unique"[..]));
        let (old, new) = (Channel::Tls12, Channel::Tls13(BOUND));
        for (policy, password, channel, expected) in [
            (Bound, None, new, "-"),
            (Bound, None, old, "-"),
            (Bound, good, new, "-"),
            (Bound, other, new, "channel-binding-mismatch"),
            (Bound, Some(&b""[..]), new, "channel-binding-mismatch"),
            (Bound, good, old, "channel-binding-tls12"),
            (Bound, other, Channel::Unknown, "-"),
            (Required, None, new, "channel-binding-missing"),
            (Required, None, old, "channel-binding-missing"),
            (Required, good, new, "-"),
            (Required, good, Channel::Tls13([8; EXPORTER_BYTES]), "channel-binding-mismatch"),
            (Ignored, other, new, "-"),
            (Token, other, old, "-"),
        ] {
            assert_eq!(cause(policy, password, channel), expected, "{policy} {password:?} {channel:?}");
        }
    }
}
