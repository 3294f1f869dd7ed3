//! How long what became of commands is kept, and whether it is told as events.

use std::time::Duration;

use fleetward_base::limits;
use serde::{Deserialize, Serialize};

use super::{DAY, Invalid, within};

/// The section `commands`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandsPolicy {
    /// What becomes of commands is published on `$aws/events/commandExecution/...`, for clients that a topic policy lets hear it.
    pub events: bool,
    /// So many of a device that wait for nothing are kept, the newest..
    pub kept_per_device: u32,
    /// ..and no longer than this after they last changed.
    pub retention_days: u32,
}

impl Default for CommandsPolicy {
    fn default() -> Self {
        let (kept_per_device, retention_days) = (limits::COMMANDS_KEPT_PER_DEVICE, limits::COMMAND_RETENTION_DAYS);
        Self { events: false, kept_per_device, retention_days }
    }
}

impl CommandsPolicy {
    pub fn retention(&self) -> Duration {
        DAY.saturating_mul(self.retention_days)
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("commands.kept_per_device", &self.kept_per_device, &(1..=limits::COMMANDS_KEPT_PER_DEVICE_MAX))?;
        within("commands.retention_days", &self.retention_days, &(1..=limits::COMMAND_RETENTION_DAYS_MAX))
    }
}
