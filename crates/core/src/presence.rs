//! Whether a device is there, and when its silence becomes news.
//!
//! The facts are kept in memory by whoever holds the connections and are written down in batches, so `last_seen` may be
//! older after a restart than it was before; [`heartbeat`] therefore never counts time in which the server was away.

use std::time::Duration;

use fleetward_base::Timestamp;

/// What is known of a device's presence.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Presence {
    /// It has a connection now.
    pub online: bool,
    /// The last sign of life of any kind.
    pub last_seen: Option<Timestamp>,
    pub connected_at: Option<Timestamp>,
    pub disconnected_at: Option<Timestamp>,
    /// Why the last connection ended, in one word.
    pub reason: Option<String>,
    /// Where it connected from.
    pub address: Option<String>,
}

impl Presence {
    pub fn connected(&mut self, now: Timestamp, address: Option<String>) {
        self.online = true;
        self.connected_at = Some(now);
        self.reason = None;
        self.address = address;
        self.seen(now);
    }

    pub fn disconnected(&mut self, now: Timestamp, reason: &str) {
        self.online = false;
        self.disconnected_at = Some(now);
        self.reason = Some(reason.to_owned());
    }

    /// Any sign of life. Time does not go back here even where the clock does.
    pub fn seen(&mut self, now: Timestamp) {
        self.last_seen = self.last_seen.max(Some(now));
    }

    /// Fallen silent: it was seen once, has no connection, and has given no sign of life for `after`.
    pub fn silent(&self, now: Timestamp, after: Duration) -> bool {
        !self.online && self.last_seen.is_some_and(|seen| now.since(seen) >= after)
    }
}

/// The heartbeat of a device that was not given one.
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(300);
/// Heartbeats that may fail to come before it is news.
pub const HEARTBEATS_MISSED: u32 = 2;

/// What a look at a device's heartbeat found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Nothing new.
    Same,
    /// It is overdue, and that was not said yet.
    Missed,
    /// It was overdue, and is back.
    Back,
}

/// Looks at the heartbeat of a device. `every` is what it was given, `alarmed` whether its absence was already reported,
/// `watching_since` when this server began to look: a device is not overdue for time in which nobody listened.
pub fn heartbeat(
    now: Timestamp,
    presence: &Presence,
    every: Option<Duration>,
    alarmed: bool,
    watching_since: Timestamp,
) -> Heartbeat {
    let patience = every.unwrap_or(HEARTBEAT_DEFAULT).saturating_mul(HEARTBEATS_MISSED);
    let overdue =
        !presence.online && presence.last_seen.is_some_and(|seen| now.since(seen.max(watching_since)) >= patience);
    match (overdue, alarmed) {
        (true, false) => Heartbeat::Missed,
        (false, true) if presence.online || presence.last_seen.is_some_and(|seen| seen > watching_since) => {
            Heartbeat::Back
        }
        _ => Heartbeat::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seen_s: Option<i64>, online: bool, alarmed: bool, since_s: i64, expect: Heartbeat) {
        let presence = Presence { online, last_seen: seen_s.map(Timestamp::from_secs), ..Presence::default() };
        let every = Some(Duration::from_secs(60));
        let found = heartbeat(Timestamp::from_secs(1000), &presence, every, alarmed, Timestamp::from_secs(since_s));
        assert_eq!(found, expect, "seen {seen_s:?} online {online} alarmed {alarmed} since {since_s}");
    }

    #[test]
    fn heartbeats() {
        check(None, false, false, 0, Heartbeat::Same); // never seen: nothing to miss
        check(Some(900), false, false, 0, Heartbeat::Same);
        check(Some(881), false, false, 0, Heartbeat::Same);
        check(Some(880), false, false, 0, Heartbeat::Missed);
        check(Some(880), false, true, 0, Heartbeat::Same); // said once
        check(Some(100), false, false, 900, Heartbeat::Same); // nobody listened until 900
        check(Some(100), false, false, 880, Heartbeat::Missed);
        check(Some(100), true, false, 0, Heartbeat::Same); // a quiet connection is alive
        check(Some(990), false, true, 0, Heartbeat::Back);
        check(Some(100), true, true, 0, Heartbeat::Back);
        check(Some(100), false, true, 990, Heartbeat::Same); // still away after a restart
    }

    #[test]
    fn a_clock_that_goes_back_does_not_take_a_sign_of_life_away() {
        let mut presence = Presence::default();
        presence.seen(Timestamp::from_secs(9));
        presence.seen(Timestamp::from_secs(5));
        assert_eq!(presence.last_seen, Some(Timestamp::from_secs(9)));
        assert!(!presence.silent(Timestamp::from_secs(5), Duration::from_secs(1)));
    }
}
