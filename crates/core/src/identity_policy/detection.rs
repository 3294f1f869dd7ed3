//! What a tenant takes for a sign of abuse, and what follows from it.

use std::time::Duration;

use fleetward_base::limits;
use serde::{Deserialize, Serialize};

use super::{Invalid, within};
use crate::detection::network::Place;
use crate::text::text_enum;

text_enum! {
    /// What follows from a finding about one device.
    pub enum Reaction("reaction") {
        Ignore => "ignore",
        /// It stands in the journal, and whoever follows the events hears of it.
        Event => "event",
        /// That, and the device is quarantined.
        Quarantine => "quarantine",
    }
}

/// The section `detection`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectionPolicy {
    /// One certificate in two places.
    pub two_places: Reaction,
    /// Connections that take each other's place without end.
    pub flapping: Reaction,
    /// A journey that is too fast.
    pub impossible_travel: Reaction,
    /// How long back is looked, in minutes.
    pub window_minutes: u32,
    /// So many returns to a network that was left make two places.
    pub returns: u32,
    /// So many take-overs make flapping.
    pub takeovers: u32,
    /// The fastest that a device travels, in kilometres an hour.
    pub travel_kmh: u32,
    /// So many devices that enrol once more within the window are a mass.
    pub reregistrations: u32,
    /// So many identities from one claim within the window are a burst.
    pub claims: u32,
    /// Where networks are. Without them journeys and regions are not known.
    pub places: Vec<Place>,
}

impl Default for DetectionPolicy {
    fn default() -> Self {
        Self {
            two_places: Reaction::Event,
            flapping: Reaction::Event,
            impossible_travel: Reaction::Event,
            window_minutes: 10,
            returns: 2,
            takeovers: 6,
            travel_kmh: 1000,
            reregistrations: 20,
            claims: 100,
            places: Vec::new(),
        }
    }
}

impl DetectionPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("detection.window_minutes", &self.window_minutes, &(1..=24 * 60))?;
        within("detection.returns", &self.returns, &(1..=8))?;
        within("detection.takeovers", &self.takeovers, &(2..=16))?;
        within("detection.travel_kmh", &self.travel_kmh, &(50..=100_000))?;
        within("detection.reregistrations", &self.reregistrations, &(2..=100_000))?;
        within("detection.claims", &self.claims, &(2..=100_000))?;
        let invalid = |why: String| Err(Invalid { field: "detection.places", why });
        if self.places.len() > limits::DETECTION_PLACES {
            return invalid(format!("at most {}", limits::DETECTION_PLACES));
        }
        for place in &self.places {
            if place.name.is_empty() || place.name.len() > 64 || place.name.chars().any(char::is_control) {
                return invalid("a name has 1 to 64 bytes without control characters".to_owned());
            }
            let on_earth = |degrees: Option<f64>, most: f64| degrees.is_none_or(|degrees| degrees.abs() <= most);
            if !on_earth(place.latitude, 90.0) || !on_earth(place.longitude, 180.0) {
                return invalid(format!("{} is not on earth", place.name));
            }
        }
        Ok(())
    }

    pub fn window(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.window_minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_held_to_the_earth() {
        let read = |text: &str| serde_json::from_str::<DetectionPolicy>(text).expect("readable").check();
        assert_eq!(read("{}"), Ok(()));
        let place = |rest: &str| read(&format!(r#"{{"places": [{{"network": "192.0.2.0/24", "name": "a" {rest}}}]}}"#));
        assert_eq!(place(""), Ok(()));
        assert_eq!(place(r#", "latitude": 59.9, "longitude": 10.7"#), Ok(()));
        assert!(place(r#", "latitude": 91"#).is_err());
        assert!(serde_json::from_str::<DetectionPolicy>(r#"{"places": [{"network": "x", "name": "a"}]}"#).is_err());
        assert!(read(r#"{"takeovers": 1}"#).is_err());
    }
}
