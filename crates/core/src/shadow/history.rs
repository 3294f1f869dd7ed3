//! The history of a shadow: one merge patch (RFC 7396) for each change, and which of them stay.
//!
//! Patches say how the state changed, not what was asked: played one after the other from `{}` they give the document
//! ([`apply`]), and what changed nothing has an empty one. That works since no state holds a null. Patches cannot be
//! joined without the state that they apply to, so [`thin_out`] plays the history and writes the first patch after a gap
//! anew; what is left still gives the document.

use std::time::Duration;

use fleetward_base::{Timestamp, limits};
use serde_json::{Map, Value};

use super::Sections;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A change as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Counts the changes to one shadow; it never begins again, as versions do.
    pub number: u64,
    pub at: Timestamp,
    pub patch: Map<String, Value>,
}

/// How long changes stay. What is neither among the newest nor the last of its day is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest are told apart..
    pub kept: u32,
    /// ..for as many days.
    pub days: u32,
    /// The last change of each day stays for as many days.
    pub daily_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { kept: limits::SHADOW_HISTORY_KEPT, days: 7, daily_days: 90 }
    }
}

/// What is to be done to a stretch of history.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Thinning {
    pub dropped: Vec<u64>,
    /// These stay, with the patch from the change that is kept before them.
    pub rewritten: Vec<(u64, Map<String, Value>)>,
}

/// The merge patch that makes `after` of `before`.
pub fn diff(before: &Sections, after: &Sections) -> Map<String, Value> {
    let sections = [("desired", &before.desired, &after.desired), ("reported", &before.reported, &after.reported)];
    let mut patch = Map::new();
    for (name, before, after) in sections {
        let changed = match (before, after) {
            (before, after) if before == after => continue,
            (_, None) => Value::Null,
            (None, Some(after)) => after.clone().into(),
            (Some(before), Some(after)) => between(before, after).into(),
        };
        patch.insert(name.to_owned(), changed);
    }
    patch
}

fn between(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let gone = before.keys().filter(|key| !after.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let mut patch: Map<String, Value> = gone.collect();
    for (key, new) in after {
        let value = match (before.get(key), new) {
            (Some(old), new) if old == new => continue,
            (Some(Value::Object(old)), Value::Object(new)) => between(old, new).into(),
            (_, new) => new.clone(),
        };
        patch.insert(key.clone(), value);
    }
    patch
}

/// Plays one patch (RFC 7396 §2).
pub fn apply(state: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => drop(state.remove(key)),
            Value::Object(patch) => {
                let entry = state.entry(key).or_insert(Value::Null);
                if !entry.is_object() {
                    *entry = Value::Object(Map::new());
                }
                if let Value::Object(inner) = entry {
                    apply(inner, patch);
                }
            }
            value => drop(state.insert(key.clone(), value.clone())),
        }
    }
}

/// What of `oldest`, a shadow's oldest changes in order, is to go at `now`. `newest` is the number of its newest change,
/// which may be past this stretch. The last of the stretch stays, so that what follows has something to follow.
pub fn thin_out(now: Timestamp, rules: Retention, newest: u64, oldest: &[Change]) -> Thinning {
    let mut plan = Thinning::default();
    let (mut state, mut told) = (Map::new(), Map::new());
    for (index, change) in oldest.iter().enumerate() {
        apply(&mut state, &change.patch);
        let next = oldest.get(index.saturating_add(1));
        if next.is_some_and(|next| !stays(now, rules, newest, change, next)) {
            plan.dropped.push(change.number);
            continue;
        }
        let patch = between(&told, &state);
        if patch != change.patch {
            plan.rewritten.push((change.number, patch));
        }
        told.clone_from(&state);
    }
    plan
}

fn stays(now: Timestamp, rules: Retention, newest: u64, change: &Change, next: &Change) -> bool {
    let young = |days: u32| now.since(change.at) < DAY.saturating_mul(days);
    let told_apart = newest.saturating_sub(change.number) < u64::from(rules.kept) && young(rules.days);
    let last_of_its_day = day(change.at) != day(next.at);
    told_apart || (last_of_its_day && young(rules.daily_days))
}

fn day(at: Timestamp) -> i64 {
    at.secs().div_euclid(24 * 3600)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const HOUR: i64 = 3600;

    fn sections(value: Value) -> Sections {
        serde_json::from_value(value).expect("sections")
    }

    fn check(before: Value, after: Value, patch: Value) {
        let found = diff(&sections(before.clone()), &sections(after.clone()));
        assert_eq!(Value::Object(found.clone()), patch, "{before} {after}");
        let mut state = sections(before).to_value().as_object().cloned().expect("an object");
        apply(&mut state, &found);
        assert_eq!(Value::Object(state), after);
    }

    #[test]
    fn patches_say_what_changed() {
        check(json!({}), json!({"desired": {"a": 1}}), json!({"desired": {"a": 1}}));
        check(json!({"desired": {"a": 1}}), json!({"desired": {"a": 1}}), json!({}));
        check(
            json!({"desired": {"a": {"b": 1, "c": 2}}}),
            json!({"desired": {"a": {"b": 1}}}),
            json!({"desired": {"a": {"c": null}}}),
        );
        check(
            json!({"desired": {"a": 1}, "reported": {"a": 1}}),
            json!({"reported": {"a": 1}}),
            json!({"desired": null}),
        );
        check(json!({"reported": {"a": 5}}), json!({"reported": {"a": {}}}), json!({"reported": {"a": {}}}));
        check(
            json!({"reported": {"a": {"b": 1}}}),
            json!({"reported": {"a": {}}}),
            json!({"reported": {"a": {"b": null}}}),
        );
        check(json!({"reported": {"a": [1, 2]}}), json!({"reported": {"a": [2]}}), json!({"reported": {"a": [2]}}));
    }

    fn changes(times: impl IntoIterator<Item = i64>) -> Vec<Change> {
        let change = |(number, secs): (u64, i64)| Change {
            number,
            at: Timestamp::from_secs(secs),
            patch: json!({"reported": {"n": number}}).as_object().cloned().expect("an object"),
        };
        (1..).zip(times).map(change).collect()
    }

    fn kept(now: i64, rules: Retention, all: &[Change]) -> Vec<u64> {
        let newest = all.last().map_or(0, |change| change.number);
        let plan = thin_out(Timestamp::from_secs(now), rules, newest, all);
        all.iter().map(|change| change.number).filter(|number| !plan.dropped.contains(number)).collect()
    }

    #[test]
    fn the_newest_stay_and_one_of_each_day() {
        let rules = Retention { kept: 3, days: 2, daily_days: 4 };
        // Two a day at 00:00 and 12:00, from day 0.
        let all = changes((0..12).map(|n| n * 12 * HOUR));
        // It is day 5, 13:00: days 4 and 5 are told apart as far as they are among the newest three (10, 11, 12), and of the
        // days 2 and 3 (and of day 1 what is younger than four days) the last stays.
        assert_eq!(kept(5 * 24 * HOUR + 13 * HOUR, rules, &all), [6, 8, 10, 11, 12]);
        // Nothing is younger than its limits: the last still stays, or there would be no document.
        assert_eq!(kept(1000 * 24 * HOUR, rules, &all), [12]);
        assert_eq!(kept(0, rules, &[]), Vec::<u64>::new());
    }

    #[test]
    fn ten_thousand_changes_in_an_hour_leave_fifty() {
        let all = changes((0..10_000).map(|n| n / 3));
        let left = kept(HOUR, Retention::default(), &all);
        assert_eq!(left, (9951..=10_000).collect::<Vec<u64>>());
    }

    fn state() -> impl Strategy<Value = Sections> {
        let leaf = prop_oneof![(0..3i32).prop_map(|n| json!(n)), Just(json!([1])), Just(json!({})), Just(json!("x"))];
        let inner = prop::collection::btree_map("[a-c]", leaf, 0..3).prop_map(|map| json!(map));
        let value = prop_oneof![inner, (0..3i32).prop_map(|n| json!(n))];
        let section = || {
            let section = prop::collection::btree_map("[a-c]", value.clone(), 1..4);
            prop::option::of(section.prop_map(|map| map.into_iter().collect::<Map<_, _>>()))
        };
        (section(), section()).prop_map(|(desired, reported)| Sections { desired, reported })
    }

    fn play(changes: &[Change]) -> Value {
        let mut played = Map::new();
        changes.iter().for_each(|change| apply(&mut played, &change.patch));
        Value::Object(played)
    }

    proptest! {
        /// However often and in whatever stretches a history is thinned out, it gives the document.
        #[test]
        fn what_is_left_gives_the_document(states in prop::collection::vec((state(), 0..40i64), 1..30), stretch in 1..12usize,
                                           kept in 1..6u32, days in 0..3u32, daily_days in 0..10u32) {
            let (mut history, mut before, mut hours) = (Vec::new(), Sections::default(), 0);
            for (number, (after, later)) in (1..).zip(states) {
                hours += later;
                history.push(Change { number, at: Timestamp::from_secs(hours * HOUR), patch: diff(&before, &after) });
                before = after;
            }
            let (document, newest) = (before.to_value(), history.len() as u64);
            prop_assert_eq!(play(&history), document.clone());
            let rules = Retention { kept, days, daily_days };
            let now = Timestamp::from_secs((hours + 1) * HOUR);
            for _ in 0..history.len() {
                let plan = thin_out(now, rules, newest, history.get(..stretch).unwrap_or(&history));
                for (number, patch) in plan.rewritten {
                    let change = history.iter_mut().find(|change| change.number == number).expect("it is there");
                    change.patch = patch;
                }
                history.retain(|change| !plan.dropped.contains(&change.number));
                prop_assert_eq!(play(&history), document.clone());
            }
            let whole = thin_out(now, rules, newest, &history);
            history.retain(|change| !whole.dropped.contains(&change.number));
            prop_assert!(history.len() <= (kept + daily_days) as usize + 2);
            prop_assert_eq!(history.last().map(|change| change.number), Some(newest));
        }
    }
}
