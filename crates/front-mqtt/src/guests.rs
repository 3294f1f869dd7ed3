//! Connections of guests, which are no devices: what is known of each while it lasts.
//!
//! Guests share what they show and call themselves what they like, so each connection has a name of its own, by which it is
//! found here and answered. One that was let in and never came to be is forgotten after a while.

use std::collections::HashMap;
use std::time::Duration;

use fleetward_base::{DeviceId, limits};
use parking_lot::Mutex;

/// From its admission to its session a connection takes no longer: a CONNECT has a deadline, and the admission follows it.
pub(crate) const COMING: Duration = limits::MQTT_CONNECT_DEADLINE.saturating_mul(3);

/// The guests of one kind.
pub(crate) struct Guests<T> {
    live: Mutex<HashMap<DeviceId, Entry<T>>>,
}

struct Entry<T> {
    guest: T,
    /// When it was let in; `None` once it is connected.
    coming_since: Option<Duration>,
}

impl<T> Default for Guests<T> {
    fn default() -> Self {
        Self { live: Mutex::default() }
    }
}

impl<T: Clone> Guests<T> {
    /// Notes one that is let in; `false` where there are `most` already that are `alike`.
    pub(crate) fn admit(
        &self,
        name: &DeviceId,
        guest: T,
        most: usize,
        alike: impl Fn(&T, &T) -> bool,
        now: Duration,
    ) -> bool {
        let mut live = self.live.lock();
        live.retain(|_, entry| entry.coming_since.is_none_or(|since| now.saturating_sub(since) < COMING));
        if live.values().filter(|entry| alike(&entry.guest, &guest)).count() >= most {
            return false;
        }
        live.insert(name.clone(), Entry { guest, coming_since: Some(now) });
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

    pub(crate) fn get(&self, name: &DeviceId) -> Option<T> {
        self.live.lock().get(name).map(|entry| entry.guest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 3;

    fn name(number: usize) -> DeviceId {
        format!("c:{number}").parse().expect("a name")
    }

    #[test]
    fn so_many_are_in_at_once_and_those_that_never_came_do_not_count() {
        let guests = Guests::default();
        let admit =
            |number, what: &'static str, now| guests.admit(&name(number), what, MOST, |one, other| one == other, now);
        for number in 0..MOST {
            assert!(admit(number, "a", Duration::ZERO));
        }
        assert!(!admit(99, "a", Duration::ZERO));
        assert!(admit(98, "b", Duration::ZERO), "another kind");
        guests.connected(&name(0));
        guests.gone(&name(1));
        assert!(admit(1, "a", Duration::ZERO));
        assert!(admit(99, "a", COMING));
        assert!(guests.get(&name(0)).is_some() && guests.get(&name(2)).is_none());
    }
}
