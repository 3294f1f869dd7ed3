//! Who asks, and what they may do.
//!
//! A [`Ctx`] is made by a door after authentication and goes into every use case first. A tenant is taken from it and from
//! nothing else: [`Ctx::allow`] is the one place that turns a tenant's name into the right to touch its rows.

use std::net::IpAddr;

use fleetward_base::{DeviceId, RequestId, TenantId, Timestamp, TokenId};
use fleetward_core::access::{DeviceRights, Permission, Role, allows};
use fleetward_core::journal::{Action, Actor, Entry};

use crate::error::{Error, Result};

/// Whoever is behind a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A bearer of an API token. Without a tenant it is one of the installation.
    Operator { token: TokenId, name: String, role: Role, tenant: Option<TenantId> },
    /// A device, known by its certificate.
    Device { tenant: TenantId, device: DeviceId, serial: String, rights: DeviceRights },
    /// A part of the server that acts by itself.
    System { component: &'static str },
}

impl Principal {
    /// How the journal names it.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Operator { name, .. } => Actor::token(name.clone()),
            Self::Device { device, .. } => Actor::device(device),
            Self::System { component } => Actor::system(component),
        }
    }

    /// The key that idempotency records and rate limits are kept under.
    pub fn key(&self) -> String {
        match self {
            Self::Operator { token, .. } => token.to_string(),
            Self::Device { tenant, device, .. } => format!("{tenant}/{device}"),
            Self::System { component } => (*component).to_owned(),
        }
    }
}

/// One request: who, from where, and the id that ties its traces together.
#[derive(Clone, Debug)]
pub struct Ctx {
    pub principal: Principal,
    pub request_id: RequestId,
    pub address: Option<IpAddr>,
    pub idempotency: Option<Idempotency>,
}

/// A caller's promise that requests under one key are one request.
#[derive(Clone, Debug)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 over method, path and body.
    pub request_hash: [u8; 32],
}

impl Ctx {
    /// The right to do `permission` in `tenant`, or why not. A tenant that the principal does not belong to is not there.
    pub fn allow(&self, tenant: &TenantId, permission: Permission) -> Result<()> {
        match &self.principal {
            Principal::System { .. } => Ok(()),
            Principal::Operator { role, tenant: home, .. } => {
                if home.as_ref().is_some_and(|home| home != tenant) {
                    return Err(Error::NotFound { what: "tenant" });
                }
                if allows(*role, permission) { Ok(()) } else { Err(Error::Denied { permission }) }
            }
            Principal::Device { .. } => Err(Error::NotFound { what: "tenant" }),
        }
    }

    /// The right to do `permission` to the installation itself. To a tenant's own principals the installation is not there.
    pub fn allow_installation(&self, permission: Permission) -> Result<()> {
        match &self.principal {
            Principal::System { .. } => Ok(()),
            Principal::Operator { role, tenant: None, .. } if allows(*role, permission) => Ok(()),
            Principal::Operator { .. } => Err(Error::Denied { permission }),
            Principal::Device { .. } => Err(Error::NotFound { what: "resource" }),
        }
    }

    /// A journal entry of something that this principal did now.
    pub fn done(&self, now: Timestamp, action: Action) -> Entry {
        Entry::done(now, self.principal.actor(), action).request(Some(self.request_id))
    }

    /// The device that speaks, for use cases that only a device has.
    pub fn device(&self) -> Result<(&TenantId, &DeviceId)> {
        match &self.principal {
            Principal::Device { tenant, device, .. } => Ok((tenant, device)),
            _ => Err(Error::Unauthenticated { reason: "not a device" }),
        }
    }
}
