//! Connections that were let in with a claim: what is known of each while it lasts.
//!
//! Many devices share a claim and call themselves what they like, so each connection has a name of its own, by which it is
//! found here and answered. One that was let in and never came to be is forgotten after a while.

use std::collections::HashMap;
use std::time::Duration;

use fleetward_app::provisioning::Claimant;
use fleetward_base::{DeviceId, limits};
use parking_lot::Mutex;

/// From its admission to its session a connection takes no longer.
const COMING: Duration = limits::MQTT_CONNECT_DEADLINE.saturating_mul(3);

#[derive(Default)]
pub(crate) struct Claimants {
    live: Mutex<HashMap<DeviceId, Entry>>,
}

struct Entry {
    claimant: Claimant,
    /// When it was let in; `None` once it is connected.
    coming_since: Option<Duration>,
}

impl Claimants {
    /// Notes one that is let in; `false` where its claim has as many connections as it may.
    pub(crate) fn admit(&self, name: &DeviceId, claimant: Claimant, now: Duration) -> bool {
        let mut live = self.live.lock();
        live.retain(|_, entry| entry.coming_since.is_none_or(|since| now.saturating_sub(since) < COMING));
        let same = |entry: &&Entry| entry.claimant.tenant == claimant.tenant && entry.claimant.claim == claimant.claim;
        if live.values().filter(same).count() >= limits::CLAIM_CONNECTIONS {
            return false;
        }
        live.insert(name.clone(), Entry { claimant, coming_since: Some(now) });
        true
    }

    pub(crate) fn connected(&self, name: &DeviceId) {
        if let Some(entry) = self.live.lock().get_mut(name) {
            entry.coming_since = None;
        }
    }

    pub(crate) fn gone(&self, name: &DeviceId) {
        self.live.lock().remove(name);
    }

    pub(crate) fn get(&self, name: &DeviceId) -> Option<Claimant> {
        self.live.lock().get(name).map(|entry| entry.claimant.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(claim: &str) -> Claimant {
        Claimant {
            tenant: "acme".parse().expect("a name"),
            claim: claim.to_owned(),
            serial: "01".to_owned(),
            fingerprint: "ff".to_owned(),
            connection: claim.to_owned(),
            client_id: String::new(),
            address: std::net::Ipv4Addr::LOCALHOST.into(),
        }
    }

    fn name(number: usize) -> DeviceId {
        format!("c:{number}").parse().expect("a name")
    }

    #[test]
    fn a_claim_has_so_many_connections_and_those_that_never_came_do_not_count() {
        let claimants = Claimants::default();
        for number in 0..limits::CLAIM_CONNECTIONS {
            assert!(claimants.admit(&name(number), claimant("a"), Duration::ZERO));
        }
        assert!(!claimants.admit(&name(9999), claimant("a"), Duration::ZERO));
        assert!(claimants.admit(&name(9998), claimant("b"), Duration::ZERO), "another claim");
        claimants.connected(&name(0));
        claimants.gone(&name(1));
        assert!(claimants.admit(&name(1), claimant("a"), Duration::ZERO));
        assert!(claimants.admit(&name(9999), claimant("a"), COMING));
        assert!(claimants.get(&name(0)).is_some() && claimants.get(&name(2)).is_none());
    }
}
