//! Why a rollout stands still: for programs as fields, for people as one sentence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why it was paused. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PauseReason {
    /// Somebody asked for it.
    Operator {
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Too many updates failed.
    Failures {
        /// Index of the phase that it happened in.
        phase: u32,
        failed: u32,
        finished: u32,
        limit_percent: u8,
        /// The hardware revisions over the limit, the worst first; empty where the failures are spread.
        cohorts: Vec<CohortFinding>,
    },
    /// Too many devices fell silent after they began.
    Silence {
        phase: u32,
        silent: u32,
        started: u32,
        limit_percent: u8,
        silent_after_s: u32,
        cohorts: Vec<CohortFinding>,
    },
}

/// What was seen of one hardware revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CohortFinding {
    pub hardware: String,
    /// Failed, or silent.
    pub bad: u32,
    /// Of so many that finished, or began.
    pub of: u32,
}

impl PauseReason {
    /// The hardware revisions at fault, the worst first.
    pub fn cohorts(&self) -> &[CohortFinding] {
        match self {
            Self::Operator { .. } => &[],
            Self::Failures { cohorts, .. } | Self::Silence { cohorts, .. } => cohorts,
        }
    }

    /// As a sentence, about what is brought: "updates", "renewals".
    pub fn about(&self, what: &'static str) -> impl fmt::Display + '_ {
        About { reason: self, what }
    }

    /// It was a gate, not a person.
    pub fn is_gate(&self) -> bool {
        !matches!(self, Self::Operator { .. })
    }
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.about("updates").fmt(f)
    }
}

struct About<'a> {
    reason: &'a PauseReason,
    what: &'static str,
}

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            PauseReason::Operator { by, note: None } => write!(f, "Paused by {by}."),
            PauseReason::Operator { by, note: Some(note) } => write!(f, "Paused by {by}: {note}"),
            PauseReason::Failures { phase, failed, finished, limit_percent, cohorts } => {
                let phase = phase.saturating_add(1);
                write!(f, "{failed} of {finished} {} failed in phase {phase}", self.what)?;
                write!(f, " (limit {limit_percent} %)")?;
                blame(f, cohorts, "failed")
            }
            PauseReason::Silence { phase, silent, started, limit_percent, silent_after_s, cohorts } => {
                write!(f, "{silent} of {started} devices fell silent for {silent_after_s} s or more")?;
                write!(f, " in phase {} (limit {limit_percent} %)", phase.saturating_add(1))?;
                blame(f, cohorts, "silent")
            }
        }
    }
}

fn blame(f: &mut fmt::Formatter<'_>, cohorts: &[CohortFinding], what: &str) -> fmt::Result {
    for (index, cohort) in cohorts.iter().enumerate() {
        let before = if index == 0 { ": hardware " } else { ", hardware " };
        write!(f, "{before}{} ({} of {} {what})", cohort.hardware, cohort.bad, cohort.of)?;
    }
    f.write_str(".")
}
