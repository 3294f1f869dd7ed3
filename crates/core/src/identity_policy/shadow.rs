//! What a tenant allows around the state of its devices, and how much of its past is kept.

use fleetward_base::limits;
use serde::{Deserialize, Serialize};

use super::{Invalid, within};
use crate::shadow::Retention;

/// The section `shadow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShadowPolicy {
    /// So many of the newest changes to a shadow are told apart, for as many days..
    pub history_kept: u32,
    pub history_days: u32,
    /// ..and after that the last of each day, for as many days.
    pub history_daily_days: u32,
    /// Each report of a device has a row of the journal too, which is sealed and never forgotten. Off: what a device reports
    /// of itself stands in its history alone, and the journal does not grow with a fleet that does not.
    pub journal_reports: bool,
    /// The shadow `config` is told by retained messages too, and taken from them.
    pub light_mode: bool,
    /// What goes to and fro is found, and no longer asserted.
    pub oscillation: bool,
    /// Operators may keep a shadow under a name that no device has.
    pub unregistered: bool,
}

impl Default for ShadowPolicy {
    fn default() -> Self {
        let Retention { kept, days, daily_days } = Retention::default();
        Self {
            history_kept: kept,
            history_days: days,
            history_daily_days: daily_days,
            journal_reports: false,
            light_mode: true,
            oscillation: true,
            unregistered: false,
        }
    }
}

impl ShadowPolicy {
    pub fn retention(&self) -> Retention {
        Retention { kept: self.history_kept, days: self.history_days, daily_days: self.history_daily_days }
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("shadow.history_kept", &self.history_kept, &(1..=limits::SHADOW_HISTORY_KEPT_MAX))?;
        within("shadow.history_days", &self.history_days, &(0..=limits::SHADOW_HISTORY_DAYS_MAX))?;
        within("shadow.history_daily_days", &self.history_daily_days, &(0..=limits::SHADOW_HISTORY_DAILY_DAYS_MAX))
    }
}
