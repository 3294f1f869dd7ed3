//! Who is there now. Kept in memory, written down in batches.
//!
//! The door that holds the connections tells of each sign of life. Connecting and disconnecting are written within a
//! second, with their journal rows; `last_seen` only now and then. After a restart nobody is online until they are, and
//! silence is counted from the restart on: nobody listened before.

mod flush;
mod heartbeats;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::presence::Presence;
use parking_lot::RwLock;

pub use flush::{flush, flush_transitions, load};
pub use heartbeats::{HeartbeatStatus, look_at_heartbeats};

/// The presence of every device that was heard of.
#[derive(Debug, Default)]
pub struct Presences {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<TenantId, HashMap<DeviceId, Slot>>,
    online: u64,
    transitions: VecDeque<Transition>,
    /// Devices whose `last_seen` is newer than what is written.
    stale: BTreeSet<(TenantId, DeviceId)>,
    watching_since: Timestamp,
}

#[derive(Debug, Default)]
struct Slot {
    presence: Presence,
    /// Of the connection that was reported last.
    epoch: u64,
    every: Option<Duration>,
    alarmed: bool,
}

/// A device came or went.
#[derive(Clone, Debug)]
struct Transition {
    tenant: TenantId,
    device: DeviceId,
    at: Timestamp,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Connected { address: Option<IpAddr>, protocol: &'static str },
    Disconnected { reason: &'static str },
}

/// A connection as its door reports it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// Grows with each connection of the process.
    pub epoch: u64,
    pub address: Option<IpAddr>,
    /// `mqtt-3.1.1`, `mqtt-5`.
    pub protocol: &'static str,
}

impl Presences {
    /// What is known of a device; for one never heard of, that it is not there.
    pub fn of(&self, tenant: &TenantId, device: &DeviceId) -> Presence {
        let state = self.state.read();
        state
            .known
            .get(tenant)
            .and_then(|devices| devices.get(device))
            .map(|slot| slot.presence.clone())
            .unwrap_or_default()
    }

    /// How long a device has been connected; none where it is not.
    pub fn connected_for(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) -> Option<Duration> {
        let state = self.state.read();
        let presence = &state.known.get(tenant)?.get(device)?.presence;
        presence.connected_at.filter(|_| presence.online).map(|since| now.since(since))
    }

    /// Devices that have a connection, in all tenants.
    pub fn online_count(&self) -> u64 {
        self.state.read().online
    }

    /// Since when this server listens: silence before it proves nothing.
    pub fn watching_since(&self) -> Timestamp {
        self.state.read().watching_since
    }

    /// A device has connected.
    pub fn connected(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp, arrival: Arrival) {
        let mut state = self.state.write();
        let slot = state.slot(tenant, device);
        if arrival.epoch < slot.epoch {
            return;
        }
        slot.epoch = arrival.epoch;
        let came = !std::mem::replace(&mut slot.presence.online, true);
        slot.presence.connected(now, arrival.address.map(|address| address.to_string()));
        state.online = state.online.saturating_add(u64::from(came));
        let what = What::Connected { address: arrival.address, protocol: arrival.protocol };
        state.push(Transition { tenant: tenant.clone(), device: device.clone(), at: now, what });
    }

    /// Its connection has ended. Says nothing where a newer connection was reported meanwhile.
    pub fn disconnected(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp, epoch: u64, reason: &'static str) {
        let mut state = self.state.write();
        let slot = state.slot(tenant, device);
        if epoch < slot.epoch {
            return;
        }
        slot.epoch = epoch;
        let went = slot.presence.online;
        slot.presence.disconnected(now, reason);
        state.online = state.online.saturating_sub(u64::from(went));
        let what = What::Disconnected { reason };
        state.push(Transition { tenant: tenant.clone(), device: device.clone(), at: now, what });
    }

    /// A sign of life, by whatever door.
    pub fn seen(&self, tenant: &TenantId, device: &DeviceId, now: Timestamp) {
        let mut state = self.state.write();
        state.slot(tenant, device).presence.seen(now);
        state.stale.insert((tenant.clone(), device.clone()));
    }

    /// How often a device is expected to give a sign of life; `None` for the default.
    pub fn expect_heartbeat(&self, tenant: &TenantId, device: &DeviceId, every_s: Option<u32>) {
        let every = every_s.map(|secs| Duration::from_secs(secs.into()));
        self.state.write().slot(tenant, device).every = every;
    }

    /// Forgets a device that was removed.
    pub fn forget(&self, tenant: &TenantId, device: &DeviceId) {
        let mut state = self.state.write();
        let gone = state.known.get_mut(tenant).and_then(|devices| devices.remove(device));
        if gone.is_some_and(|slot| slot.presence.online) {
            state.online = state.online.saturating_sub(1);
        }
        state.stale.remove(&(tenant.clone(), device.clone()));
    }

    /// What waits to be written, taken out, by tenant.
    fn take_transitions(&self) -> BTreeMap<TenantId, Vec<(Transition, Presence)>> {
        let mut state = self.state.write();
        let taken = std::mem::take(&mut state.transitions);
        let mut by_tenant: BTreeMap<TenantId, Vec<_>> = BTreeMap::new();
        for transition in taken {
            let presence = state.slot(&transition.tenant, &transition.device).presence.clone();
            by_tenant.entry(transition.tenant.clone()).or_default().push((transition, presence));
        }
        by_tenant
    }

    /// Puts back what could not be written, before what came since.
    fn give_back(&self, transitions: Vec<(Transition, Presence)>) {
        let mut state = self.state.write();
        for (transition, _) in transitions.into_iter().rev() {
            state.transitions.push_front(transition);
        }
        state.bound();
    }
}

impl State {
    fn slot(&mut self, tenant: &TenantId, device: &DeviceId) -> &mut Slot {
        // Two look-ups, so that the names are copied only for a device that is new.
        if !self.known.get(tenant).is_some_and(|devices| devices.contains_key(device)) {
            self.known.entry(tenant.clone()).or_default().insert(device.clone(), Slot::default());
        }
        self.known.get_mut(tenant).and_then(|devices| devices.get_mut(device)).expect("it was just put there")
    }

    fn push(&mut self, transition: Transition) {
        self.transitions.push_back(transition);
        self.bound();
    }

    fn bound(&mut self) {
        while self.transitions.len() > limits::PRESENCE_TRANSITIONS {
            self.transitions.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
