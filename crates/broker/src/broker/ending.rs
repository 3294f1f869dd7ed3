//! Ending live connections from above. Their sessions stay.

use std::sync::atomic::Ordering;

use fleetward_base::{DeviceId, TenantId};

use super::Broker;
use crate::session::Session;
use crate::space::Space;
use crate::{EndReason, Reason};

impl Broker {
    /// Ends every live connection that was made with the claim of this serial number; says how many.
    pub fn kick_claim(&self, tenant: &TenantId, serial: &str, reason: Reason) -> usize {
        let Some(space) = self.inner.anterooms.read().get(tenant).cloned() else { return 0 };
        let sessions: Vec<_> = space.sessions.lock().values().cloned().collect();
        sessions.iter().filter(|session| self.end(session, Some(serial), reason)).count()
    }

    /// Ends the live connection of a device; false if there is none. Its session stays.
    pub fn kick(&self, tenant: &TenantId, device: &DeviceId, reason: Reason) -> bool {
        self.session(tenant, device).is_some_and(|s| self.end(&s, None, reason))
    }

    /// Ends the live connection of a device if it was made with the certificate of this serial.
    pub fn kick_serial(&self, tenant: &TenantId, device: &DeviceId, serial: &str, reason: Reason) -> bool {
        self.session(tenant, device).is_some_and(|s| self.end(&s, Some(serial), reason))
    }

    /// Ends every live connection of a tenant; says how many.
    pub fn kick_all(&self, tenant: &TenantId, reason: Reason) -> usize {
        let anteroom = self.inner.anterooms.read().get(tenant).cloned();
        self.inner.known_space(tenant).into_iter().chain(anteroom).map(|space| self.end_all(&space, reason)).sum()
    }

    pub(super) fn end_all(&self, space: &Space, reason: Reason) -> usize {
        let sessions: Vec<_> = space.sessions.lock().values().cloned().collect();
        sessions.iter().filter(|s| self.end(s, None, reason)).count()
    }

    pub(super) fn end(&self, session: &Session, serial: Option<&str>, reason: Reason) -> bool {
        let state = session.lock();
        let Some(link) = &state.link else { return false };
        let other = |wanted: &str| state.principal.as_ref().is_some_and(|p| *p.serial != *wanted);
        if serial.is_some_and(other) {
            return false;
        }
        self.inner.counters.kicked.fetch_add(1, Ordering::Relaxed);
        link.end(EndReason::Server(reason))
    }
}
