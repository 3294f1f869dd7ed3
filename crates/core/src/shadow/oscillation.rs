//! A device that goes to and fro between two values of something that is desired, and is left alone with it then.
//!
//! The usual cause: it reports what it booted with before it has asked for its delta, applies the delta, and does not keep
//! it over the next boot. Each delta that it is sent then makes one more round. For each path of desired whose reported
//! value moves, the last values are remembered by their hash; two values that follow each other three times over are an
//! oscillation, and from there on the path is no part of the delta. A change of desired on the path, or an operator
//! ([`Watch::settle`]), begins anew.

use std::collections::BTreeMap;

use fleetward_base::{Timestamp, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::stale::{self, Stale};

/// Values that are remembered of one path.
const RING: usize = 8;
/// So many values that take turns are three rounds.
const ROUNDS: usize = 6;

/// What of a shadow goes to and fro.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watch {
    /// The last reported values by path (RFC 6901), as hashes; 0 where it reported none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rings: BTreeMap<String, Vec<u32>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    found: BTreeMap<String, Oscillation>,
    /// How often a reported value went away from what is desired, by path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    departures: BTreeMap<String, Departures>,
    /// The device has come back with less than it had.
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<Stale>,
}

/// How often, and how often of these right after the device had connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Departures {
    all: u32,
    at_start: u32,
}

/// One path that goes to and fro.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oscillation {
    pub since: Timestamp,
    /// How often the value has moved, as far as it was watched.
    pub moves: u64,
    /// One of the two values is what is desired.
    pub reached: bool,
    /// It went away from it each time right after the device had connected.
    #[serde(default)]
    pub at_each_boot: bool,
}

impl Oscillation {
    /// What it means, for the journal and for people.
    pub const fn explanation(&self) -> &'static str {
        if self.at_each_boot {
            "at each boot the device goes back from the desired value to the other one"
        } else if self.reached {
            "the device reaches the desired value and goes back to the other one, again and again"
        } else {
            "the device goes to and fro between two values, neither of which is desired"
        }
    }

    /// What is worth looking at.
    pub const fn hint(&self) -> &'static str {
        if self.at_each_boot {
            "it reports before it has asked for its delta, and does not keep what it applied over a restart: have it ask first, \
             and keep what it applies before it reports that"
        } else if self.reached {
            "it likely reports before it has asked for its delta, or does not keep what it applied over a restart"
        } else {
            "two programs on the device likely report the same key; or it is a measurement, which is not to be desired"
        }
    }
}

/// Sections as an update found them, and as it leaves them.
pub(super) struct Moved<'a> {
    pub(super) desired: (&'a Map<String, Value>, &'a Map<String, Value>),
    pub(super) reported: (&'a Map<String, Value>, &'a Map<String, Value>),
    /// By a device that had just connected.
    pub(super) at_start: bool,
}

impl Watch {
    pub fn is_empty(&self) -> bool {
        self.rings.is_empty() && self.found.is_empty() && self.stale.is_none()
    }

    /// That what the device reports is older than what it once had, until it has caught up.
    pub fn stale(&self) -> Option<&Stale> {
        self.stale.as_ref()
    }

    /// What oscillates, by path.
    pub fn found(&self) -> &BTreeMap<String, Oscillation> {
        &self.found
    }

    /// Begins anew on every path; whether anything oscillated.
    pub fn settle(&mut self) -> bool {
        self.rings.clear();
        self.departures.clear();
        !std::mem::take(&mut self.found).is_empty()
    }

    pub(super) fn oscillates(&self, path: &str) -> bool {
        self.found.contains_key(path)
    }

    /// Takes note of what the device says of its start; whether that shows that it came back with less than it had.
    pub(super) fn note_start(&mut self, reported: (&Map<String, Value>, &Map<String, Value>), now: Timestamp) -> bool {
        let known = self.stale.as_ref().map(|stale| stale.known);
        self.stale = match (known, stale::of(reported.0, reported.1, now)) {
            (Some(known), _) if stale::has_caught_up(reported.1, known) => None,
            (Some(_), _) => return false,
            (None, found) => found,
        };
        self.stale.is_some()
    }

    /// Takes note of an update; the paths that it shows to oscillate, which did not before.
    pub(super) fn note(&mut self, moved: &Moved<'_>, now: Timestamp) -> Vec<String> {
        let same = |path: &String| at(moved.desired.0, path) == at(moved.desired.1, path);
        self.rings.retain(|path, _| same(path));
        self.found.retain(|path, _| same(path));
        self.departures.retain(|path, _| same(path));
        let mut leaves = Vec::new();
        moved_leaves(moved.desired.1, moved.reported.0, moved.reported.1, &mut String::new(), &mut leaves);
        let mut new = Vec::new();
        for leaf in leaves {
            if self.rings.len() >= limits::SHADOW_PATHS_WATCHED && !self.rings.contains_key(&leaf.path) {
                continue;
            }
            let (before, after, wanted) = (hash(leaf.before), hash(leaf.after), hash(Some(leaf.desired)));
            if before == wanted {
                let departures = self.departures.entry(leaf.path.clone()).or_default();
                departures.all = departures.all.saturating_add(1);
                departures.at_start = departures.at_start.saturating_add(u32::from(moved.at_start));
            }
            let ring = self.rings.entry(leaf.path.clone()).or_default();
            if ring.is_empty() {
                ring.push(before);
            }
            ring.push(after);
            ring.drain(..ring.len().saturating_sub(RING));
            if let Some(known) = self.found.get_mut(&leaf.path) {
                known.moves = known.moves.saturating_add(1);
            } else if takes_turns(ring) {
                let (moves, reached) = (ROUNDS as u64 - 1, before == wanted || after == wanted);
                let departures = self.departures.get(&leaf.path).copied().unwrap_or_default();
                let at_each_boot = departures.all > 0 && departures.at_start == departures.all;
                self.found.insert(leaf.path.clone(), Oscillation { since: now, moves, reached, at_each_boot });
                new.push(leaf.path);
            }
        }
        new
    }
}

/// Whether the last values are two that take turns, three times each.
fn takes_turns(ring: &[u32]) -> bool {
    let Some((_, last)) = ring.len().checked_sub(ROUNDS).and_then(|at| ring.split_at_checked(at)) else { return false };
    last.windows(2).all(|pair| pair.first() != pair.last())
        && last.windows(3).all(|three| three.first() == three.last())
}

struct Leaf<'a> {
    path: String,
    desired: &'a Value,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

/// Leaves of desired, as the delta has them, whose reported value is another one now.
fn moved_leaves<'a>(
    desired: &'a Map<String, Value>,
    before: &'a Map<String, Value>,
    after: &'a Map<String, Value>,
    path: &mut String,
    found: &mut Vec<Leaf<'a>>,
) {
    for (key, want) in desired {
        let (old, new) = (before.get(key), after.get(key));
        if old == new {
            continue;
        }
        let length = path.len();
        push(path, key);
        if let (Value::Object(want), Some(Value::Object(old)), Some(Value::Object(new))) = (want, old, new) {
            moved_leaves(want, old, new, path, found);
        } else if old.is_some() {
            // The first report of a key is no move.
            found.push(Leaf { path: path.clone(), desired: want, before: old, after: new });
        }
        path.truncate(length);
    }
}

/// One more step of a path (RFC 6901 §3).
pub(super) fn push(path: &mut String, key: &str) {
    path.push('/');
    path.push_str(&key.replace('~', "~0").replace('/', "~1"));
}

fn at<'a>(section: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = section.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(&step))
}

/// FNV-1a over the text of a value. What it is good for is told apart by it; nobody gains by a collision.
fn hash(value: Option<&Value>) -> u32 {
    let Some(value) = value else { return 0 };
    value.to_string().bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shadow::{Applied, Document, UpdateRequest, settle, update_at};

    /// A device that is played updates, a second apart.
    #[derive(Default)]
    struct Played {
        document: Option<Document>,
        secs: i64,
        at_start: bool,
    }

    impl Played {
        fn update(&mut self, state: &Value) -> Applied {
            self.secs += 1;
            let request = UpdateRequest::parse(json!({ "state": state }).to_string().as_bytes()).expect("a request");
            let now = Timestamp::from_secs(self.secs);
            let applied = update_at(self.document.as_ref(), &request, now, self.at_start).expect("accepted");
            self.document = Some(applied.document.clone());
            applied
        }

        fn report(&mut self, value: &Value) -> Applied {
            self.update(&json!({ "reported": value }))
        }
    }

    /// Reports values of `a`, 1 being desired; the number of the report that shows the oscillation.
    fn check(values: &[i32], expect: Option<usize>) {
        let mut device = Played::default();
        device.update(&json!({"desired": {"a": 1}}));
        let found = values.iter().position(|value| !device.report(&json!({ "a": value })).oscillates.is_empty());
        assert_eq!(found.map(|at| at + 1), expect, "{values:?}");
    }

    #[test]
    fn three_rounds_of_two_values() {
        check(&[0, 1, 0, 1, 0, 1], Some(6));
        check(&[0, 0, 1, 1, 0, 1, 0, 0, 1], Some(9));
        check(&[5, 0, 1, 0, 1, 0, 1, 0], Some(7));
        check(&[0, 1, 0, 1, 0, 2, 0, 1, 0, 1], None);
        check(&[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], None);
        check(&[3, 2, 3, 2, 3, 2], Some(6));
        check(&[1, 1, 1, 1, 1, 1, 1, 1], None);
    }

    #[test]
    fn what_oscillates_is_no_longer_asserted() {
        let mut device = Played::default();
        device.update(&json!({"desired": {"wifi": {"channel": 6, "power": 3}, "name": "x"}}));
        for round in 0..3 {
            let stale = device.report(&json!({"wifi": {"channel": 1, "power": 3}}));
            assert!(stale.delta.is_some(), "round {round}: the name differs still");
            device.report(&json!({"wifi": {"channel": 6}}));
        }
        let document = device.document.clone().expect("a document");
        let (path, found) = document.watch.found().first_key_value().expect("it is found");
        assert_eq!((path.as_str(), found.reached, found.moves), ("/wifi/channel", true, 5));
        assert!(found.hint().contains("restart") && found.explanation().contains("desired"));
        let applied = device.report(&json!({"wifi": {"channel": 1}}));
        let state = applied.delta.expect("the name differs").state;
        assert_eq!(Value::Object(state), json!({"name": "x"}), "the channel is left alone");
        // Another wish on the path begins anew; one elsewhere does not.
        let applied = device.update(&json!({"desired": {"name": "y"}}));
        assert_eq!(applied.document.watch.found().len(), 1);
        let applied = device.update(&json!({"desired": {"wifi": {"channel": 11}}}));
        assert!(applied.document.watch.is_empty());
        assert_eq!(
            Value::Object(applied.delta.expect("it differs").state),
            json!({"name": "y", "wifi": {"channel": 11}})
        );
    }

    #[test]
    fn what_is_lost_at_each_boot_is_said_to_be() {
        // When the device has just connected: with each departure, with none, with one of them.
        for (starts, at_each_boot) in [([true; 3], true), ([false; 3], false), ([true, false, true], false)] {
            let mut device = Played::default();
            device.update(&json!({"desired": {"a": 1}}));
            device.report(&json!({"a": 1}));
            for at_start in starts {
                device.at_start = at_start;
                device.report(&json!({"a": 0}));
                device.at_start = false;
                device.report(&json!({"a": 1}));
            }
            let watch = device.document.expect("a document").watch;
            let found = watch.found().get("/a").expect("it is found");
            assert_eq!((found.reached, found.at_each_boot), (true, at_each_boot), "{starts:?}");
            assert_eq!(found.explanation().starts_with("at each boot"), at_each_boot);
        }
    }

    #[test]
    fn an_operator_begins_anew() {
        let mut device = Played::default();
        device.update(&json!({"desired": {"a/b": 1}}));
        for value in [0, 1, 0, 1, 0, 1, 0] {
            device.report(&json!({ "a/b": value }));
        }
        let document = device.document.clone().expect("a document");
        assert!(document.watch.oscillates("/a~1b"));
        let (settled, delta) = settle(&document).expect("something oscillated");
        assert!(settled.watch.is_empty() && settled.version == document.version);
        assert_eq!(Value::Object(delta.expect("it is asserted again").state), json!({"a/b": 1}));
        assert!(settle(&settled).is_none());
        let text = serde_json::to_string(&document.watch).expect("JSON");
        assert_eq!(serde_json::from_str::<Watch>(&text).expect("own output"), document.watch);
    }

    #[test]
    fn what_is_not_desired_is_not_watched() {
        let mut device = Played::default();
        device.update(&json!({"desired": {"a": 1}}));
        for n in 0..20 {
            device.report(&json!({"temperature": n % 2, "a": 1}));
        }
        assert!(device.document.expect("a document").watch.is_empty());
        let mut many = Played::default();
        let keys = |value: i32| (0..50).map(|n| (format!("k{n}"), json!(value))).collect::<Map<_, _>>();
        many.update(&json!({"desired": keys(1)}));
        for n in 0..20 {
            many.report(&Value::Object(keys(n % 2)));
        }
        let watched = many.document.expect("a document").watch;
        assert_eq!((watched.rings.len(), watched.found.len()), (32, 32), "bounded");
    }
}
