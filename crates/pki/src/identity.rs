//! The identity that a certificate carries: `urn:fleetward:TENANT:DEVICE` in its subjectAltName; for a certificate with
//! which a device asks for its identity, `urn:fleetward-claim:TENANT:NAME`.
//!
//! The server derives it at issue; nothing else in a certificate says who a device is. A tenant name has no colon, so the
//! first one after it ends it, although a device name may have some.

use std::fmt;
use std::str::FromStr;

use base::{DeviceId, TenantId};

use fleetward_base as base;

const PREFIX: &str = "urn:fleetward:";

/// A device of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub tenant: TenantId,
    pub device: DeviceId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.tenant, self.device)
    }
}

/// A text that is not such a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an identity of the form urn:fleetward:TENANT:DEVICE")]
pub struct BadIdentity;

impl FromStr for Identity {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let (tenant, device) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or(BadIdentity)?;
        Ok(Self { tenant: tenant.parse().map_err(|_| BadIdentity)?, device: device.parse().map_err(|_| BadIdentity)? })
    }
}

const CLAIM_PREFIX: &str = "urn:fleetward-claim:";

/// A claim certificate of a tenant: good for asking for an identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimName {
    pub tenant: TenantId,
    /// Follows the rules of a device's name.
    pub claim: String,
}

impl fmt::Display for ClaimName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CLAIM_PREFIX}{}:{}", self.tenant, self.claim)
    }
}

impl FromStr for ClaimName {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let (tenant, claim) =
            text.strip_prefix(CLAIM_PREFIX).and_then(|rest| rest.split_once(':')).ok_or(BadIdentity)?;
        let claim: DeviceId = claim.parse().map_err(|_| BadIdentity)?;
        Ok(Self { tenant: tenant.parse().map_err(|_| BadIdentity)?, claim: claim.to_string() })
    }
}

const UNBOUND_PREFIX: &str = "urn:fleetward-certificate:";

/// A certificate that names no device: the registry says whose it is, or that it is nobody's yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnboundName {
    pub tenant: TenantId,
    /// Follows the rules of a device's name.
    pub id: String,
}

impl fmt::Display for UnboundName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{UNBOUND_PREFIX}{}:{}", self.tenant, self.id)
    }
}

impl FromStr for UnboundName {
    type Err = BadIdentity;

    fn from_str(text: &str) -> Result<Self, BadIdentity> {
        let (tenant, id) =
            text.strip_prefix(UNBOUND_PREFIX).and_then(|rest| rest.split_once(':')).ok_or(BadIdentity)?;
        let id: DeviceId = id.parse().map_err(|_| BadIdentity)?;
        Ok(Self { tenant: tenant.parse().map_err(|_| BadIdentity)?, id: id.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        for text in ["urn:fleetward:acme:gw-1", "urn:fleetward:a:AA:BB:CC"] {
            assert_eq!(text.parse::<Identity>().map(|identity| identity.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "",
            "urn:fleetward:acme",
            "urn:fleetward::gw",
            "urn:fleetward:acme:",
            "URN:fleetward:acme:gw",
            "urn:fleetward:acme:a/b",
            "urn:other:acme:gw",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(BadIdentity), "{text}");
        }
    }

    #[test]
    fn a_claim_is_no_device() {
        let claim = "urn:fleetward-claim:acme:line-4";
        assert_eq!(claim.parse::<ClaimName>().map(|name| name.to_string()).as_deref(), Ok(claim));
        assert_eq!(claim.parse::<Identity>(), Err(BadIdentity));
        assert_eq!("urn:fleetward:acme:gw-1".parse::<ClaimName>(), Err(BadIdentity));
        let unbound = "urn:fleetward-certificate:acme:4f00";
        assert_eq!(unbound.parse::<UnboundName>().map(|name| name.to_string()).as_deref(), Ok(unbound));
        assert_eq!(unbound.parse::<Identity>(), Err(BadIdentity));
        assert_eq!(claim.parse::<UnboundName>(), Err(BadIdentity));
    }
}
