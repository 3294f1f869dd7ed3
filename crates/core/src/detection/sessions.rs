//! What the connections of one device say about who holds its certificate.
//!
//! A device that moves comes from a new network and does not go back and forth; two that share a key do, since each takes the
//! session from the other. So what counts is not a new network but the return to one that was left.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use fleetward_base::Timestamp;

use super::network::{Network, Place, distance_km, place_of};
use super::{Finding, QUIET};
use crate::identity_policy::DetectionPolicy;

/// Arrivals that are remembered of a device.
const ARRIVALS: usize = 16;
/// A journey shorter than this says nothing: places are as exact as the networks that they were given to.
const TRAVEL_KM: f64 = 300.0;
/// How long the last arrival is good for telling a journey.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// A connection that was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    pub at: Timestamp,
    pub address: IpAddr,
    pub serial: String,
    /// It took the place of a connection that was still there.
    pub took_over: bool,
}

#[derive(Clone, Debug)]
struct Known {
    at: Timestamp,
    address: IpAddr,
    network: Network,
    serial: String,
    took_over: bool,
}

/// What is remembered of the connections of one device.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    arrivals: VecDeque<Known>,
    told: [Option<Timestamp>; 3],
}

impl Sessions {
    /// Takes note of a connection, and says what it makes of it.
    pub fn arrive(&mut self, arrival: Arrival, policy: &DetectionPolicy) -> Vec<Finding> {
        let Arrival { at, address, serial, took_over } = arrival;
        let travel = self.arrivals.back().and_then(|last| travel(last, at, address, policy));
        let network = Network::around(address);
        if self.arrivals.len() == ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(Known { at, address, network, serial, took_over });
        let window = policy.window();
        let recent: Vec<&Known> = self.arrivals.iter().filter(|known| at.since(known.at) <= window).collect();
        let findings = [two_places(&recent, policy), flapping(&recent, policy), travel];
        let mut told = Vec::new();
        for (finding, last) in findings.into_iter().zip(&mut self.told) {
            if let Some(finding) = finding
                && last.is_none_or(|last| at.since(last) >= QUIET)
            {
                *last = Some(at);
                told.push(finding);
            }
        }
        told
    }

    /// Whether there is nothing left that a later connection could be held against.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.arrivals.back().is_none_or(|last| now.since(last.at) > MEMORY)
    }
}

/// Returns to a network that was left, with one and the same certificate.
fn two_places(recent: &[&Known], policy: &DetectionPolicy) -> Option<Finding> {
    let newest = recent.last()?;
    let same: Vec<&&Known> = recent.iter().filter(|known| known.serial == newest.serial).collect();
    let mut seen: Vec<Network> = Vec::new();
    let mut returns = 0;
    for known in &same {
        let moved = seen.last().is_some_and(|last| *last != known.network);
        if moved && seen.contains(&known.network) {
            returns += 1;
        }
        if moved || seen.is_empty() {
            seen.push(known.network);
        }
    }
    if returns < policy.returns {
        return None;
    }
    let mut networks: Vec<String> = seen.iter().map(Network::to_string).collect();
    networks.sort();
    networks.dedup();
    Some(Finding::TwoPlaces { serial: newest.serial.clone(), networks, returns })
}

fn flapping(recent: &[&Known], policy: &DetectionPolicy) -> Option<Finding> {
    let takeovers = u32::try_from(recent.iter().filter(|known| known.took_over).count()).unwrap_or(u32::MAX);
    let minutes = policy.window().as_secs() / 60;
    (takeovers >= policy.takeovers).then_some(Finding::Flapping { takeovers, minutes })
}

fn travel(last: &Known, at: Timestamp, address: IpAddr, policy: &DetectionPolicy) -> Option<Finding> {
    let took = at.since(last.at);
    if took > MEMORY {
        return None;
    }
    let named = |address| -> Option<&Place> { place_of(&policy.places, address) };
    let (from, to) = (named(last.address)?, named(address)?);
    let km = distance_km(from, to)?;
    let possible = took.as_secs_f64() / 3600.0 * f64::from(policy.travel_kmh);
    if km < TRAVEL_KM || km <= possible {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most half of the equator")]
    let whole = km as u32;
    let (from, to) = (from.name.clone(), to.name.clone());
    Some(Finding::ImpossibleTravel { from, to, km: whole, minutes: took.as_secs() / 60 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "192.0.2.1";
    const AWAY: &str = "198.51.100.1";
    const FAR: &str = "203.0.113.1";

    fn policy() -> DetectionPolicy {
        let place = |network: &str, name: &str, latitude, longitude| Place {
            network: network.parse().expect("a network"),
            name: name.to_owned(),
            latitude: Some(latitude),
            longitude: Some(longitude),
        };
        let places = vec![place("192.0.2.0/24", "oslo", 59.9, 10.8), place("203.0.113.0/24", "rome", 41.9, 12.5)];
        DetectionPolicy { places, ..DetectionPolicy::default() }
    }

    /// Tells `(second, address, took over)` one after the other; the names of what was found, with the second.
    fn tell(arrivals: &[(i64, &str, bool)]) -> Vec<String> {
        let mut sessions = Sessions::default();
        let mut told = Vec::new();
        for &(second, address, took_over) in arrivals {
            let arrival = Arrival {
                at: Timestamp::from_secs(second),
                address: address.parse().expect("an address"),
                serial: "01".to_owned(),
                took_over,
            };
            let found = sessions.arrive(arrival, &policy());
            told.extend(found.iter().map(|finding| format!("{second} {}", finding.action())));
        }
        told
    }

    #[test]
    fn a_device_that_moves_is_no_clone() {
        assert_eq!(tell(&[(0, HOME, false), (10, AWAY, true), (20, "198.51.101.1", true)]), [""; 0]);
        // Home to the mobile network and home again, as a gateway with a bad line does.
        assert_eq!(tell(&[(0, HOME, false), (60, AWAY, true), (120, HOME, true)]), [""; 0]);
        // From the same network, however often.
        assert_eq!(tell(&[(0, HOME, false), (1, "192.0.2.9", false), (2, HOME, false), (3, HOME, false)]), [""; 0]);
    }

    #[test]
    fn two_that_share_a_key_are_found_and_told_once() {
        let mut arrivals: Vec<(i64, &str, bool)> =
            (0..8).map(|n| (n * 20, if n % 2 == 0 { HOME } else { AWAY }, n > 0)).collect();
        assert_eq!(tell(&arrivals), ["60 security.certificate_in_two_places", "120 security.takeover_flapping"]);
        // An hour later it is worth saying again.
        arrivals.extend((0..8).map(|n| (4000 + n * 20, if n % 2 == 0 { HOME } else { AWAY }, true)));
        assert_eq!(tell(&arrivals).len(), 4);
    }

    #[test]
    fn slow_alternation_is_daily_life() {
        let arrivals: Vec<(i64, &str, bool)> =
            (0..10).map(|n| (n * 8 * 3600, if n % 2 == 0 { HOME } else { AWAY }, false)).collect();
        assert_eq!(tell(&arrivals), [""; 0]);
    }

    #[test]
    fn take_overs_from_one_network_are_flapping() {
        let arrivals: Vec<(i64, &str, bool)> = (0..7).map(|n| (n * 10, HOME, n > 0)).collect();
        assert_eq!(tell(&arrivals), ["60 security.takeover_flapping"]);
    }

    #[test]
    fn a_journey_takes_its_time() {
        assert_eq!(tell(&[(0, HOME, false), (600, FAR, false)]), ["600 security.impossible_travel"]);
        assert_eq!(tell(&[(0, HOME, false), (4 * 3600, FAR, false)]), [""; 0], "there are planes");
        assert_eq!(tell(&[(0, HOME, false), (600, AWAY, false)]), [""; 0], "nobody knows where that is");
    }

    #[test]
    fn old_memories_go() {
        let mut sessions = Sessions::default();
        assert!(sessions.is_stale(Timestamp::from_secs(0)));
        let address = HOME.parse().expect("an address");
        let at = Timestamp::from_secs(5);
        let arrival = Arrival { at, address, serial: "01".to_owned(), took_over: false };
        sessions.arrive(arrival, &policy());
        assert!(!sessions.is_stale(at) && sessions.is_stale(at.plus(MEMORY * 2)));
        // A clock that goes back forgets nothing and finds nothing.
        assert!(!sessions.is_stale(Timestamp::from_secs(0)));
    }
}
