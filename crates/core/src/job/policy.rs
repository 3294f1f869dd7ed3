//! How a job reaches its devices: rate, criteria, time limits, schedule.

use std::time::Duration;

use fleetward_base::{Timestamp, limits};
use serde::{Deserialize, Serialize};

use super::cron::Cron;
use super::execution::Status;
use super::invalid;
use crate::registry::Invalid;
use crate::text::text_enum;

/// A number with two decimals, kept whole so that it compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Hundredths(pub u32);

impl TryFrom<f64> for Hundredths {
    type Error = &'static str;
    fn try_from(value: f64) -> Result<Self, Self::Error> {
        if !(0.0..=1_000_000.0).contains(&value) {
            return Err("a number from 0 to 1000000");
        }
        #[expect(clippy::cast_possible_truncation, reason = "held to its range above")]
        #[expect(clippy::cast_sign_loss, reason = "held to its range above")]
        let whole = (value * 100.0).round() as u32;
        Ok(Self(whole))
    }
}

impl From<Hundredths> for f64 {
    fn from(value: Hundredths) -> Self {
        Self::from(value.0) / 100.0
    }
}

/// All that an operator may say of how a job goes. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub abort: Vec<Abort>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retry: Vec<Retry>,
    /// How long an execution may be in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_minutes: Option<u32>,
    #[serde(skip_serializing_if = "Schedule::is_empty")]
    pub schedule: Schedule,
}

/// How many executions are handed out in a minute at most.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_per_minute: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exponential: Option<Exponential>,
}

/// A rate that grows with what went before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    pub base_per_minute: u32,
    pub increment_factor: Hundredths,
    /// After how many more devices it grows.
    pub increase_after: Increase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Increase {
    Notified(u32),
    Succeeded(u32),
}

text_enum! {
    /// What counts as a failure.
    pub enum Failure("failure type") {
        Failed => "failed",
        Rejected => "rejected",
        TimedOut => "timed_out",
        All => "all",
    }
}

impl Failure {
    pub const fn includes(self, status: Status) -> bool {
        match self {
            Self::Failed => matches!(status, Status::Failed),
            Self::Rejected => matches!(status, Status::Rejected),
            Self::TimedOut => matches!(status, Status::TimedOut),
            Self::All => matches!(status, Status::Failed | Status::Rejected | Status::TimedOut),
        }
    }
}

/// When a job cancels itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    pub failure: Failure,
    pub threshold_percent: Hundredths,
    /// Of fewer devices nothing follows.
    pub minimum_executed: u32,
}

/// How often a device tries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    pub failure: Failure,
    pub retries: u32,
}

text_enum! {
    /// What the end of a schedule does.
    pub enum AtEnd("end behaviour") {
        /// Nothing more is handed out.
        StopRollout => "stop_rollout",
        /// And what is queued is canceled.
        Cancel => "cancel",
        /// And what is in progress.
        ForceCancel => "force_cancel",
    }
}

/// When a job hands out.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_end: Option<AtEnd>,
    /// Outside of them nothing is handed out, and what is queued is not shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
}

/// A span that comes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// In UTC: `cron(0 2 ? * SUN *)`.
    pub start: Cron,
    pub duration_minutes: u32,
}

impl Schedule {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a window is open; where there are none, always.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.start.within(window.duration_minutes, now))
    }

    /// When the next window opens after `now`.
    pub fn opens_after(&self, now: Timestamp) -> Option<Timestamp> {
        self.windows.iter().filter_map(|window| window.start.next_after(now)).min()
    }
}

impl Policy {
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout_minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60))
    }

    /// How many tries more a device gets after one that ended so.
    pub fn retries(&self, status: Status) -> u32 {
        let allowed = self.retry.iter().filter(|retry| retry.failure.includes(status));
        allowed.map(|retry| retry.retries).max().unwrap_or(0)
    }

    /// # Errors
    /// The field that breaks a rule.
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_rate()?;
        if self.abort.len() > Failure::ALL.len() {
            return Err(invalid("policy.abort", "at most one for each kind of failure"));
        }
        for abort in &self.abort {
            if !(1..=10_000).contains(&abort.threshold_percent.0) || abort.minimum_executed == 0 {
                return Err(invalid("policy.abort", "the threshold is above 0 and to 100, the minimum at least 1"));
            }
        }
        if self.retry.len() > 2 {
            return Err(invalid("policy.retry", "at most two"));
        }
        for retry in &self.retry {
            if retry.failure == Failure::Rejected || retry.retries > 10 {
                return Err(invalid("policy.retry", "0 to 10 retries of failed, timed_out or all"));
            }
        }
        if self.timeout_minutes.is_some_and(|minutes| !(1..=10_080).contains(&minutes)) {
            return Err(invalid("policy.timeout_minutes", "must be 1 to 10080"));
        }
        self.schedule.check()
    }

    fn check_rate(&self) -> Result<(), Invalid> {
        let Some(rate) = &self.rate else { return Ok(()) };
        let range = 1..=limits::JOB_RATE_PER_MINUTE;
        if rate.maximum_per_minute.is_some_and(|most| !range.contains(&most)) {
            let why = format!("must be 1 to {}", limits::JOB_RATE_PER_MINUTE);
            return Err(invalid("policy.rate.maximum_per_minute", why));
        }
        let Some(exponential) = &rate.exponential else { return Ok(()) };
        if !range.contains(&exponential.base_per_minute) {
            let why = format!("must be 1 to {}", limits::JOB_RATE_PER_MINUTE);
            return Err(invalid("policy.rate.exponential.base_per_minute", why));
        }
        if !(110..=500).contains(&exponential.increment_factor.0) {
            return Err(invalid("policy.rate.exponential.increment_factor", "must be 1.1 to 5"));
        }
        match exponential.increase_after {
            Increase::Notified(0) | Increase::Succeeded(0) => {
                Err(invalid("policy.rate.exponential.increase_after", "must be at least 1"))
            }
            _ => Ok(()),
        }
    }
}

impl Schedule {
    fn check(&self) -> Result<(), Invalid> {
        if let (Some(start), Some(end)) = (self.start_at, self.end_at)
            && end <= start
        {
            return Err(invalid("policy.schedule.end_at", "must be after the start"));
        }
        if self.at_end.is_some() && self.end_at.is_none() {
            return Err(invalid("policy.schedule.at_end", "there is no end"));
        }
        if self.windows.len() > limits::JOB_WINDOWS {
            return Err(invalid("policy.schedule.windows", format!("at most {}", limits::JOB_WINDOWS)));
        }
        if self.windows.iter().any(|window| !(1..=1430).contains(&window.duration_minutes)) {
            return Err(invalid("policy.schedule.windows", "a window lasts 1 to 1430 minutes"));
        }
        Ok(())
    }
}
