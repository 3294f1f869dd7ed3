//! The identity that a certificate carries: `urn:fleetward:TENANT:DEVICE` in its subjectAltName.
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
}
