//! What operators may ask of a rollout, and what it makes of it.
//!
//! Each answers with the rollout as it is afterwards, or `None` where it is so already: asking twice is harmless.

use fleetward_base::{Timestamp, limits};

use super::{Excuse, Halt, Observed, PauseReason, Rollout, State};
use crate::registry::Invalid;

/// The rollout is where this cannot be asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.about("rollout"))]
pub struct Refused {
    pub state: State,
    /// As a participle: "paused".
    pub verb: &'static str,
}

impl Refused {
    /// As a sentence, about a rollout or what else goes in phases.
    pub fn about(&self, noun: &str) -> String {
        format!("a {noun} that is {} cannot be {}", self.state, self.verb)
    }
}

type Decision<Of> = Result<Option<Rollout<Of>>, Refused>;

/// Whether `note` can stand in the record.
pub fn check_note(note: Option<&str>) -> Result<(), Invalid> {
    match note {
        Some(note) if note.len() > limits::ROLLOUT_NOTE_BYTES => {
            Err(Invalid { field: "note", why: format!("longer than {} bytes", limits::ROLLOUT_NOTE_BYTES) })
        }
        _ => Ok(()),
    }
}

/// Stops assigning and handing out. Devices that began go on.
pub fn pause<Of: Clone>(now: Timestamp, rollout: &Rollout<Of>, by: &str, note: Option<&str>) -> Decision<Of> {
    match rollout.state {
        State::Running => {
            let reason = PauseReason::Operator { by: by.to_owned(), note: note.map(str::to_owned) };
            let halt = Halt { reason: Some(reason), excused: rollout.halt.excused.clone() };
            Ok(Some(Rollout { halt, gate_met_at: None, ..changed(now, rollout, State::Paused) }))
        }
        State::Paused => Ok(None),
        state => Err(Refused { state, verb: "paused" }),
    }
}

/// Goes on in the phase where it stopped. What had gone wrong by now is excused: the gates judge what comes after.
pub fn resume<Of: Clone>(now: Timestamp, rollout: &Rollout<Of>, observed: &Observed) -> Decision<Of> {
    match rollout.state {
        State::Paused => {
            let excused = match &rollout.halt.reason {
                // A person paused it: nothing was judged, so nothing is forgiven.
                Some(PauseReason::Operator { .. }) => rollout.halt.excused.clone(),
                _ => excuse_all(observed),
            };
            let halt = Halt { reason: None, excused };
            Ok(Some(Rollout { halt, gate_met_at: None, ..changed(now, rollout, State::Running) }))
        }
        State::Running => Ok(None),
        state => Err(Refused { state, verb: "resumed" }),
    }
}

/// Ends it: what is queued is canceled, devices that began finish, nothing is taken back.
pub fn cancel<Of: Clone>(now: Timestamp, rollout: &Rollout<Of>) -> Decision<Of> {
    match rollout.state {
        State::Running | State::Paused | State::RollingBack => Ok(Some(changed(now, rollout, State::Canceled))),
        State::Canceled => Ok(None),
        state => Err(Refused { state, verb: "canceled" }),
    }
}

/// Takes back the devices that succeeded and cancels what is queued.
pub fn roll_back<Of: Clone>(now: Timestamp, rollout: &Rollout<Of>) -> Decision<Of> {
    match rollout.state {
        State::Running | State::Paused | State::Finished | State::Canceled => {
            Ok(Some(Rollout { gate_met_at: None, ..changed(now, rollout, State::RollingBack) }))
        }
        State::RollingBack | State::RolledBack => Ok(None),
    }
}

fn changed<Of: Clone>(now: Timestamp, rollout: &Rollout<Of>, state: State) -> Rollout<Of> {
    Rollout { state, updated_at: now, revision: rollout.revision.saturating_add(1), ..rollout.clone() }
}

fn excuse_all(observed: &Observed) -> Vec<Excuse> {
    let excuses = observed.updates.iter().map(|((phase, hardware), tally)| Excuse {
        phase: *phase,
        hardware: hardware.clone(),
        started: tally.started(),
        finished: tally.finished(),
        failed: tally.failed,
        silent: tally.silent,
    });
    excuses.filter(|excuse| excuse.started > 0).collect()
}
