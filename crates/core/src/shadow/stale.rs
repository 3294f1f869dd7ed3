//! A device that starts anew and reports what it had applied before, or nothing.
//!
//! Devices that say so put `{"_meta": {"applied_version": .., "boot_id": ..}}` into what they report, as our agent does. After
//! a start with an older version than was reported before, what else they report is old as well: it is kept, since it is what
//! they are, and marked until they have caught up.

use fleetward_base::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What was found at a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    pub since: Timestamp,
    /// The version that it says to have applied.
    pub applied: u64,
    /// The one that it had applied already.
    pub known: u64,
}

pub(super) fn of(before: &Map<String, Value>, after: &Map<String, Value>, now: Timestamp) -> Option<Stale> {
    let ((known, old), (applied, new)) = (start(before)?, start(after)?);
    (old != new && applied < known).then_some(Stale { since: now, applied, known })
}

pub(super) fn has_caught_up(reported: &Map<String, Value>, known: u64) -> bool {
    start(reported).is_none_or(|(applied, _)| applied >= known)
}

fn start(reported: &Map<String, Value>) -> Option<(u64, &str)> {
    let meta = reported.get("_meta")?;
    Some((meta.get("applied_version")?.as_u64()?, meta.get("boot_id")?.as_str()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::shadow::{UpdateRequest, update};

    #[test]
    fn a_start_with_less_is_marked_until_it_has_caught_up() {
        let (mut current, mut seen) = (None, Vec::new());
        for (secs, (version, boot)) in (1..).zip([(3, "a"), (5, "a"), (4, "a"), (2, "b"), (3, "b"), (5, "b"), (5, "c")])
        {
            let meta = json!({"state": {"reported": {"_meta": {"applied_version": version, "boot_id": boot}}}});
            let request = UpdateRequest::parse(meta.to_string().as_bytes()).expect("a request");
            let applied = update(current.as_ref(), &request, Timestamp::from_secs(secs)).expect("accepted");
            seen.push((applied.stale, applied.document.watch.stale().map(|stale| (stale.applied, stale.known))));
            current = Some(applied.document);
        }
        let marked = Some((2, 4));
        assert_eq!(
            seen,
            [
                (false, None),
                (false, None),
                (false, None), // within one start it may say what it likes
                (true, marked),
                (false, marked),
                (false, None),
                (false, None),
            ]
        );
    }
}
