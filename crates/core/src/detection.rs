//! Signs that an identity is not where it should be (requirements I6, M7): one certificate in two places, take-overs without end,
//! a journey that nobody makes, devices that register anew in a mass, a claim that is used in a burst.
//!
//! Each detector is a small memory that is told what happened and says what it makes of it, with the moment given to it. None
//! says the same thing again within [`QUIET`]. What follows from a finding is the tenant's policy, not decided here.

pub mod network;
pub mod sessions;
pub mod surge;

use std::time::Duration;

use serde_json::{Value, json};

use crate::journal::Action;

/// A finding is not repeated before this has passed.
pub const QUIET: Duration = Duration::from_secs(3600);

/// What a detector makes of what it was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// The certificate came back to a network that it had left, again and again: two hold its key.
    TwoPlaces { serial: String, networks: Vec<String>, returns: u32 },
    /// Connections took each other's place in a circle: two with one name, or a client that does not know when to stop.
    Flapping { takeovers: u32, minutes: u64 },
    /// From one place to another faster than anything travels.
    ImpossibleTravel { from: String, to: String, km: u32, minutes: u64 },
    /// Many devices that were enrolled already enrolled once more.
    MassReregistration { devices: u32, minutes: u64 },
    /// One claim made many identities in a short time.
    ClaimBurst { claim: String, devices: u32, minutes: u64 },
}

impl Finding {
    /// What the journal calls it.
    pub const fn action(&self) -> Action {
        match self {
            Self::TwoPlaces { .. } => Action::SecurityTwoPlaces,
            Self::Flapping { .. } => Action::SecurityTakeoverFlapping,
            Self::ImpossibleTravel { .. } => Action::SecurityImpossibleTravel,
            Self::MassReregistration { .. } => Action::SecurityMassReregistration,
            Self::ClaimBurst { .. } => Action::SecurityClaimBurst,
        }
    }

    /// What is worth knowing of it.
    pub fn detail(&self) -> Value {
        match self {
            Self::TwoPlaces { serial, networks, returns } => {
                json!({ "serial": serial, "networks": networks, "returns": returns })
            }
            Self::Flapping { takeovers, minutes } => json!({ "takeovers": takeovers, "minutes": minutes }),
            Self::ImpossibleTravel { from, to, km, minutes } => {
                json!({ "from": from, "to": to, "km": km, "minutes": minutes })
            }
            Self::MassReregistration { devices, minutes } => json!({ "devices": devices, "minutes": minutes }),
            Self::ClaimBurst { claim, devices, minutes } => {
                json!({ "claim": claim, "devices": devices, "minutes": minutes })
            }
        }
    }
}
