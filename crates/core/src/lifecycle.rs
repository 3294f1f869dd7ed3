//! The life of a device, from the factory to its end (requirement I11), and which step may follow which.
//!
//! The whole rule is the table in [`decide`]. It says nothing of who may ask for a step (that is [`crate::access`]) and
//! nothing of certificates; whoever suspends a device also revokes them.

use crate::access::DeviceRights;
use crate::text::text_enum;

text_enum! {
    /// Where a device stands in its life.
    pub enum Status("device status") {
        /// Known from manufacturing; belongs to nobody yet.
        Manufactured => "manufactured",
        /// Belongs to the tenant; has no certificate yet.
        Claimed => "claimed",
        /// Enrolled; may connect.
        Active => "active",
        /// Enrolled, and held to what it needs to be looked at: see [`rights`].
        Quarantined => "quarantined",
        /// Its certificates are revoked. A new enrolment token brings it back.
        Suspended => "suspended",
        /// Reported lost or stolen. Must be found (reinstated) before it may enrol again.
        Lost => "lost",
        /// At its end. Nothing follows.
        Decommissioned => "decommissioned",
    }
}

text_enum! {
    /// A step that somebody wants a device to take.
    pub enum Transition("life-cycle step") {
        Claim => "claim",
        /// A certificate is issued, by token or by renewal.
        Enroll => "enroll",
        Quarantine => "quarantine",
        /// Every certificate is revoked.
        Suspend => "suspend",
        ReportLost => "report_lost",
        /// Out of quarantine, suspension or loss.
        Reinstate => "reinstate",
        Decommission => "decommission",
    }
}

/// The step does not follow from where the device is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device that is {status} cannot {transition}")]
pub struct Refused {
    pub status: Status,
    pub transition: Transition,
}

/// Where `transition` takes a device that is `status`. Steps that change nothing are accepted where asking twice is
/// harmless, so that every step is idempotent.
pub fn decide(status: Status, transition: Transition) -> Result<Status, Refused> {
    use Status::{Active, Claimed, Decommissioned, Lost, Manufactured, Quarantined, Suspended};
    use Transition as T;
    let next = match (transition, status) {
        (T::Decommission, _) => Some(Decommissioned),
        (_, Decommissioned) => None,
        (T::Claim, Manufactured | Claimed) => Some(Claimed),
        (T::Enroll, Manufactured | Claimed | Active | Suspended) => Some(Active),
        // A device does not leave quarantine by renewing its certificate.
        (T::Enroll, Quarantined) => Some(Quarantined),
        (T::Quarantine, Active | Quarantined) => Some(Quarantined),
        (T::Suspend, Manufactured | Claimed | Active | Quarantined | Suspended) => Some(Suspended),
        // Suspending a lost device changes nothing: it stays lost, and its certificates are revoked all the same.
        (T::Suspend | T::ReportLost, Lost) => Some(Lost),
        (T::ReportLost, Manufactured | Claimed | Active | Quarantined | Suspended) => Some(Lost),
        (T::Reinstate, Quarantined | Active) => Some(Active),
        // Its certificates are gone: it has to enrol.
        (T::Reinstate, Suspended | Lost | Claimed) => Some(Claimed),
        (T::Claim | T::Enroll | T::Quarantine | T::Reinstate, _) => None,
    };
    next.ok_or(Refused { status, transition })
}

/// What a device may do at the doors; `None` where it is not let in.
pub const fn rights(status: Status) -> Option<DeviceRights> {
    match status {
        Status::Active => Some(DeviceRights::Full),
        Status::Quarantined => Some(DeviceRights::Restricted),
        Status::Manufactured | Status::Claimed | Status::Suspended | Status::Lost | Status::Decommissioned => None,
    }
}

/// Whether a device may hold a connection and use the doors.
pub const fn may_connect(status: Status) -> bool {
    rights(status).is_some()
}

/// Whether a certificate may be issued to it.
pub fn may_enroll(status: Status) -> bool {
    decide(status, Transition::Enroll).is_ok()
}

/// Whether it may be handed over to another tenant: nobody gives away what is missing, or what is at its end.
pub const fn may_transfer(status: Status) -> bool {
    !matches!(status, Status::Lost | Status::Decommissioned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: &str, steps: &str, expect: &str) {
        let mut at: Status = status.parse().expect("a status");
        for step in steps.split_whitespace() {
            let step: Transition = step.parse().expect("a step");
            match decide(at, step) {
                Ok(next) => at = next,
                Err(refused) => return assert_eq!(refused.to_string(), expect, "{status}: {steps}"),
            }
        }
        assert_eq!(at.as_str(), expect, "{status}: {steps}");
    }

    #[test]
    fn lives() {
        check("manufactured", "claim enroll", "active");
        check("claimed", "enroll enroll", "active");
        check("active", "suspend enroll", "active");
        check("active", "suspend reinstate", "claimed");
        check("active", "quarantine enroll", "quarantined");
        check("active", "quarantine reinstate", "active");
        check("active", "report_lost enroll", "a device that is lost cannot enroll");
        check("active", "report_lost suspend reinstate enroll", "active");
        check("active", "decommission enroll", "a device that is decommissioned cannot enroll");
        check("decommissioned", "decommission", "decommissioned");
        check("manufactured", "quarantine", "a device that is manufactured cannot quarantine");
        check("active", "claim", "a device that is active cannot claim");
    }

    #[test]
    fn what_is_lost_or_ended_is_not_handed_over() {
        let kept: Vec<&Status> = Status::ALL.iter().filter(|status| !may_transfer(**status)).collect();
        assert_eq!(kept, [&Status::Lost, &Status::Decommissioned]);
    }

    #[test]
    fn every_step_is_idempotent_and_only_enrolled_devices_connect() {
        for &status in Status::ALL {
            assert_eq!(may_connect(status), matches!(status, Status::Active | Status::Quarantined));
            assert_eq!(rights(status) == Some(DeviceRights::Full), status == Status::Active);
            for &step in Transition::ALL {
                if let Ok(once) = decide(status, step) {
                    assert_eq!(decide(once, step), Ok(once), "{status} {step}");
                }
            }
        }
    }
}
