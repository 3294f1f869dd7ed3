//! A device changes hands: whether it must say first that it has wiped itself, and what follows where it says nothing.
//!
//! The giving tenant's policy at the moment of acceptance is the rule; it does not change for a transfer that is under way.
//! Nothing is said of the receiving side here: it has agreed, and gets the device when this says so.

use crate::lifecycle::{Status, may_connect, may_transfer};
use crate::text::text_enum;

text_enum! {
    /// What the giving tenant asks of a device that goes.
    pub enum Wipe("rule on wiping") {
        /// It goes only when it has confirmed, or when a person lets it go without.
        Required => "required",
        /// It is told, and goes when it has confirmed, or at the latest when its time is over.
        Attempted => "attempted",
        /// It goes at once, and is not told.
        None => "none",
    }
}

text_enum! {
    /// What is known of the device's memory when it goes.
    pub enum Wiped("outcome of wiping") {
        /// It said that it has wiped itself.
        Confirmed => "confirmed",
        /// It was told, or could have been, and did not say so.
        Unconfirmed => "unconfirmed",
        /// It could not be told: its certificates were gone already.
        Unreachable => "unreachable",
        /// It never enrolled, so there was nothing.
        Nothing => "nothing",
        /// It was not asked to.
        Skipped => "skipped",
    }
}

/// What is to be done with an accepted transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The device is the other tenant's from now on.
    HandOver(Wiped),
    /// The device is waited for.
    Wait,
}

/// At the moment of acceptance, for a device that is `status` and has ever enrolled, or not.
pub const fn at_acceptance(rule: Wipe, status: Status, enrolled: bool) -> Step {
    match rule {
        _ if !enrolled => Step::HandOver(Wiped::Nothing),
        Wipe::None => Step::HandOver(Wiped::Skipped),
        Wipe::Attempted if !may_connect(status) => Step::HandOver(Wiped::Unreachable),
        Wipe::Attempted | Wipe::Required => Step::Wait,
    }
}

/// When its time is over and the device has said nothing. One that is missing or at its end goes nowhere by itself.
pub const fn at_deadline(rule: Wipe, status: Status) -> Step {
    match rule {
        Wipe::Attempted | Wipe::None if may_transfer(status) => Step::HandOver(Wiped::Unconfirmed),
        _ => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_acceptance() {
        use Status::{Active, Claimed, Quarantined, Suspended};
        let over = Step::HandOver;
        for (rule, status, enrolled, expect) in [
            (Wipe::Required, Claimed, false, over(Wiped::Nothing)),
            (Wipe::None, Claimed, false, over(Wiped::Nothing)),
            (Wipe::None, Active, true, over(Wiped::Skipped)),
            (Wipe::Attempted, Active, true, Step::Wait),
            (Wipe::Attempted, Quarantined, true, Step::Wait),
            (Wipe::Attempted, Suspended, true, over(Wiped::Unreachable)),
            (Wipe::Attempted, Claimed, true, over(Wiped::Unreachable)),
            (Wipe::Required, Active, true, Step::Wait),
            (Wipe::Required, Suspended, true, Step::Wait),
        ] {
            assert_eq!(at_acceptance(rule, status, enrolled), expect, "{rule} {status} {enrolled}");
        }
    }

    #[test]
    fn what_follows_silence() {
        for &status in Status::ALL {
            assert_eq!(at_deadline(Wipe::Required, status), Step::Wait, "{status}");
            let gone = matches!(status, Status::Lost | Status::Decommissioned);
            let expect = if gone { Step::Wait } else { Step::HandOver(Wiped::Unconfirmed) };
            assert_eq!(at_deadline(Wipe::Attempted, status), expect, "{status}");
        }
    }
}
