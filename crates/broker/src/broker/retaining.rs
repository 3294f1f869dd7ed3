//! What is retained, for those above.

use fleetward_base::TenantId;

use super::Broker;
use crate::StoredRetained;

impl Broker {
    /// Removes what is retained in the tenant on topics that `owned` says; how many there were.
    pub fn forget_retained(&self, tenant: &TenantId, owned: impl Fn(&str) -> bool) -> usize {
        let Some(space) = self.inner.known_space(tenant) else { return 0 };
        self.inner.forget_retained(&space, owned)
    }

    /// What is retained in the tenant on topics after `after` that are `wanted`, in their order, `limit` at most.
    pub fn retained(
        &self,
        tenant: &TenantId,
        after: &str,
        limit: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<StoredRetained> {
        let Some(space) = self.inner.known_space(tenant) else { return Vec::new() };
        let retained = space.retained.read();
        retained.listed(after, self.inner.clock.now(), limit, wanted)
    }

    /// What is retained on one topic.
    pub fn retained_on(&self, tenant: &TenantId, topic: &str) -> Option<StoredRetained> {
        let space = self.inner.known_space(tenant)?;
        let (found, _) = space.retained.read().matching(topic, self.inner.clock.now(), 1);
        found.first().filter(|(found, _)| &**found == topic).map(|(topic, retained)| retained.to_stored(topic))
    }
}
