//! What changes for connections that are there.

use fleetward_base::{DeviceId, TenantId};

use super::Broker;
use crate::{Principal, Reason, TenantRates, topic};

impl Broker {
    /// What all connections of a tenant may do together from now on; what is not said is as [`crate::Config::tenant_rates`] has it.
    pub fn limit(&self, tenant: &TenantId, rates: TenantRates) {
        let Some(space) = self.inner.known_space(tenant) else { return };
        space.limit(rates.or(self.inner.config.tenant_rates), self.inner.clock.monotonic());
    }

    /// Takes one message of so many bytes from what the device and its tenant may still publish, for one that comes by another
    /// way than a connection; false where nothing is left, and then nothing is taken.
    pub fn try_pay(&self, principal: &Principal, bytes: usize) -> bool {
        let (space, now) = (self.inner.space_of(principal), self.inner.clock.monotonic());
        let config = &self.inner.config;
        let meter = space.meter(&principal.device, config, now);
        if !space.is_open(now) || meter.as_ref().is_some_and(|meter| !meter.is_open(config, now)) {
            return false;
        }
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        space.pay(1, bytes);
        meter.inspect(|meter| meter.pay(1, bytes));
        true
    }

    /// The rights of this live connection have changed: it ends (0x87) where a subscription or its will is not allowed any
    /// more. Whether it ended.
    pub fn reauthorize(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        let Some(session) = self.session(tenant, device) else { return false };
        let stands = {
            let state = session.lock();
            let Some(principal) = &state.principal else { return false };
            let hooks = &self.inner.hooks;
            let inner = |filter| topic::split_share(filter).map_or(filter, |(_, inner)| inner);
            state.subscriptions.iter().all(|s| hooks.authorize_subscribe(principal, inner(&s.filter)))
                && state.will.as_ref().is_none_or(|will| hooks.authorize_publish(principal, &will.topic, will.retain))
        };
        !stands && self.end(&session, None, Reason::NotAuthorized)
    }
}
