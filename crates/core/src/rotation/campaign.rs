//! A campaign: certificates renewed group by group, in phases with a gate behind each.
//!
//! It is a rollout of something else: the same planner decides who is next and when a gate opens. What is counted is
//! renewals. A device that was asked and has nothing proven within the time that the policy gives has failed; one that renews
//! by itself, asked or not, has succeeded. Nothing is ever taken back, so a campaign does not roll back.

use fleetward_base::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deployment;
use crate::rollout::{PauseReason, Rollout, control};
use crate::text::text_enum;

/// What a campaign brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Renewal {
    /// The old certificate gets no grace: an emergency.
    pub at_once: bool,
}

/// Certificates on their way through the fleet.
pub type Campaign = Rollout<Renewal>;

text_enum! {
    /// How a device stands in a campaign.
    pub enum Status("status of a device in a rotation") {
        /// To be asked as soon as it is connected.
        Waiting => "waiting",
        /// Asked; nothing proven yet.
        Asked => "asked",
        /// In with a certificate that is newer than the campaign.
        Renewed => "renewed",
        /// Asked, and not renewed in time.
        Failed => "failed",
        /// The campaign was canceled before it was asked.
        Canceled => "canceled",
    }
}

impl Status {
    /// As the planner counts it.
    pub const fn counts_as(self) -> deployment::Status {
        match self {
            Self::Waiting => deployment::Status::Queued,
            Self::Asked => deployment::Status::InProgress,
            Self::Renewed => deployment::Status::Succeeded,
            Self::Failed => deployment::Status::TimedOut,
            Self::Canceled => deployment::Status::Canceled,
        }
    }
}

/// Ends a campaign: who was asked may go on, nobody else is.
///
/// # Errors
/// Where it is at its end.
pub fn cancel(now: Timestamp, campaign: &Campaign) -> Result<Option<Campaign>, control::Refused> {
    control::cancel(now, campaign)
}

/// Why it stands still, in the words of renewals.
pub fn reason(reason: &PauseReason) -> String {
    reason.about("renewals").to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::rollout::{Candidate, Halt, Observed, Phase, Policy, State, Tally, Target, plan};

    fn campaign(phases: &[Target]) -> Campaign {
        let phases = phases.iter().map(|target| Phase { target: *target, soak_s: 0 }).collect();
        Campaign {
            id: "01935000-0000-7000-8000-000000000001".parse().expect("an id"),
            name: "spring".to_owned(),
            release: Renewal::default(),
            selector: crate::selector::Selector::default(),
            policy: Policy { phases, ..Policy::default() },
            state: State::Running,
            phase: 0,
            phase_started_at: None,
            gate_met_at: None,
            halt: Halt::default(),
            target_count: 10,
            created_by: "me".to_owned(),
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            revision: 1,
        }
    }

    fn tally(counts: &[(Status, u32)]) -> Observed {
        let mut tally = Tally::default();
        for (status, count) in counts {
            tally.add(status.counts_as(), false, false, *count);
        }
        Observed { updates: BTreeMap::from([((0, "rev-a".to_owned()), tally)]), ..Observed::default() }
    }

    fn candidates(count: u32) -> Vec<Candidate> {
        (0..count)
            .map(|number| Candidate {
                device: format!("gw-{number}").parse().expect("a name"),
                hardware: "rev-a".to_owned(),
                online: true,
            })
            .collect()
    }

    #[test]
    fn a_phase_is_filled_and_waits_for_its_renewals() {
        let two = campaign(&[Target::Count(2), Target::Percent(100)]);
        let first = plan(Timestamp::EPOCH, &two, &Observed::default(), &candidates(10));
        assert_eq!((first.assign.len(), first.after.phase), (2, 0));
        let waiting = tally(&[(Status::Renewed, 1), (Status::Asked, 1)]);
        let waits = plan(Timestamp::EPOCH, &first.after, &waiting, &candidates(8));
        assert!(waits.assign.is_empty());
        let renewed = tally(&[(Status::Renewed, 2)]);
        let second = plan(Timestamp::EPOCH, &first.after, &renewed, &candidates(8));
        assert_eq!((second.assign.len(), second.after.phase), (8, 1));
    }

    #[test]
    fn failed_renewals_break_the_gate() {
        let one = campaign(&[Target::Percent(100)]);
        let failed = tally(&[(Status::Renewed, 2), (Status::Failed, 2)]);
        let broken = plan(Timestamp::EPOCH, &one, &failed, &candidates(6));
        let why = broken.pause.expect("it pauses");
        assert!(reason(&why).starts_with("2 of 4 renewals failed in phase 1"), "{why}");
        assert!(broken.assign.is_empty());
        let canceled = cancel(Timestamp::EPOCH, &one).expect("it runs").expect("it changes");
        assert_eq!(canceled.state, State::Canceled);
    }
}
