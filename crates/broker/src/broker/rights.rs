//! What changes for connections that are there.

use fleetward_base::{DeviceId, TenantId};

use super::Broker;
use crate::{Reason, TenantRates, topic};

impl Broker {
    /// What all connections of a tenant may do together from now on; what is not said is as [`crate::Config::tenant_rates`] has it.
    pub fn limit(&self, tenant: &TenantId, rates: TenantRates) {
        let Some(space) = self.inner.known_space(tenant) else { return };
        space.limit(rates.or(self.inner.config.tenant_rates), self.inner.clock.monotonic());
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
