//! What is pending for a device: jobs and deployments in one order, and which change of it is told how.
//!
//! What is in progress stands before what is queued, and both in the order in which they were queued (AWS IoT, "Jobs
//! notifications"). `notify` goes out when something comes or goes, `notify-next` when another one stands first: a job that
//! begins where it stands is told to nobody.

use fleetward_base::Timestamp;

use super::execution::Status;

/// Where one stands in the queue of its device. Sorts as the queue does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 0 in progress, 1 queued.
    rank: u8,
    queued_at: Timestamp,
    id: String,
    number: u64,
}

impl Place {
    /// `None` for what is at its end and stands nowhere.
    pub fn of(status: Status, queued_at: Timestamp, id: impl Into<String>, number: u64) -> Option<Self> {
        let rank = match status {
            Status::InProgress => 0,
            Status::Queued => 1,
            _ => return None,
        };
        Some(Self { rank, queued_at, id: id.into(), number })
    }

    fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.number == other.number
    }
}

/// What changed in one queue: where each stood, and where each stands.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Change {
    pub before: Vec<Place>,
    pub after: Vec<Place>,
    /// What was before is not known; everything is told.
    pub unknown: bool,
}

impl Change {
    pub fn unknown() -> Self {
        Self { unknown: true, ..Self::default() }
    }
}

/// What a device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct News {
    /// Something came or went: `notify`.
    pub list: bool,
    /// Another one stands first: `notify-next`.
    pub next: bool,
}

/// What follows from `change` for a device whose queue is `queue` now, in its order.
pub fn news(queue: &[Place], change: &Change) -> News {
    if change.unknown {
        return News { list: true, next: true };
    }
    let came = change.after.iter().any(|after| !change.before.iter().any(|before| before.is(after)));
    let went = change.before.iter().any(|before| !change.after.iter().any(|after| after.is(before)));
    // The queue as it was: without what came, with what went, and what moved where it stood.
    let stayed = queue.iter().filter(|place| !change.after.iter().any(|after| after.is(place)));
    let first_before = stayed.chain(&change.before).min();
    let next = match (first_before, queue.first()) {
        (Some(before), Some(now)) => !before.is(now),
        (None, None) => false,
        _ => true,
    };
    News { list: came || went, next }
}
