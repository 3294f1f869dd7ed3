//! What the agent must still know after the power was cut: one small file, replaced atomically.
//!
//! The record is boot record and update journal in one, so that "which slot runs" and "why" can never disagree. It is
//! written before the deed that it tells of wherever forgetting the deed would harm, and after it wherever believing in it
//! too early would: a slot stands in the record only once its image is on the disk, checked and synced.

use std::fmt;

use fleetward_supply::{Sha256, SignedRelease};
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};

/// The record's file beneath the data folder.
pub const FILE: &str = "record";
/// Outcomes that are remembered, so that a job offered once more is answered and not done twice.
pub const OUTCOMES_KEPT: usize = 32;
const FORMAT: u32 = 1;

/// One of the two places for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    A,
    B,
}

impl Slot {
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub sha256: Sha256,
    pub size: u64,
}

/// What a slot holds, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firmware {
    pub name: String,
    pub version: String,
    /// None where the factory installed it and there is no file of ours.
    pub image: Option<Image>,
}

/// How far a job has come. There is no state between these two: what lies between is repeated after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The image is being fetched into the target slot. `starts` counts the processes that worked on it.
    Downloading { starts: u32 },
    /// The target slot is complete and on trial. `boots` counts the processes that began in it.
    Trying { boots: u32 },
}

/// A job that was taken on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: String,
    pub target: Slot,
    pub firmware: Firmware,
    /// Where the image comes from and what vouches for it; none where the target slot already holds it.
    pub source: Option<Source>,
    pub phase: Phase,
}

/// Where an image comes from and what vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub url: String,
    #[serde(with = "release_text")]
    pub release: SignedRelease,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Succeeded,
    Failed,
    /// Never begun: not for this device, or not to be trusted.
    Rejected,
}

/// The end of a job, kept until the server has it and some time beyond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub job: String,
    pub verdict: Verdict,
    /// The last step that was reached.
    pub step: String,
    /// In words, for the person who looks into it.
    pub reason: String,
    /// The server has said that it knows.
    pub acknowledged: bool,
}

/// All that survives a power cut, the keys and the applied configuration aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    format: u32,
    /// The slot that has proven itself.
    pub active: Slot,
    pub a: Option<Firmware>,
    pub b: Option<Firmware>,
    pub job: Option<Job>,
    /// The last jobs that ended, oldest first.
    pub finished: Vec<Outcome>,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum BadRecord {
    #[error("cannot read the record: {0}")]
    Disk(#[from] std::io::Error),
    #[error("the record is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("the record has format {0}, which this agent does not know")]
    Format(u32),
}

impl Record {
    /// A device as it leaves the factory: slot a runs, with no image of ours.
    pub fn factory(version: &str) -> Self {
        let firmware = Firmware { name: "factory".to_owned(), version: version.to_owned(), image: None };
        Self { format: FORMAT, active: Slot::A, a: Some(firmware), b: None, job: None, finished: Vec::new() }
    }

    /// Reads the record; none where there has never been one.
    ///
    /// # Errors
    /// A record that is there and cannot be used. A power cut never leaves one: [`Self::save`] replaces it whole.
    pub fn load(disk: &dyn Disk) -> Result<Option<Self>, BadRecord> {
        let Some(bytes) = disk.read(FILE)? else { return Ok(None) };
        let record: Self = serde_json::from_slice(&bytes)?;
        if record.format == FORMAT { Ok(Some(record)) } else { Err(BadRecord::Format(record.format)) }
    }

    /// Writes the record so that either the old or the new one is there, whole, whatever happens.
    ///
    /// # Errors
    /// What the disk says; the old record is still there then.
    pub fn save(&self, disk: &dyn Disk) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(self).expect("a record is strings, numbers and lists of them");
        disk::replace(disk, FILE, &bytes)
    }

    pub const fn slot(&self, slot: Slot) -> Option<&Firmware> {
        match slot {
            Slot::A => self.a.as_ref(),
            Slot::B => self.b.as_ref(),
        }
    }

    pub fn set_slot(&mut self, slot: Slot, firmware: Option<Firmware>) {
        match slot {
            Slot::A => self.a = firmware,
            Slot::B => self.b = firmware,
        }
    }

    /// The slot that is to run now: the one on trial, else the active one.
    pub fn running(&self) -> Slot {
        match &self.job {
            Some(Job { phase: Phase::Trying { .. }, target, .. }) => *target,
            _ => self.active,
        }
    }

    /// The version that runs now.
    pub fn version(&self) -> &str {
        self.slot(self.running()).map_or("unknown", |firmware| firmware.version.as_str())
    }

    pub fn outcome(&self, job: &str) -> Option<&Outcome> {
        self.finished.iter().find(|outcome| outcome.job == job)
    }
}

/// A signed release as text: base64 for what is bytes.
mod release_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use fleetward_supply::SignedRelease;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    struct Text {
        manifest: String,
        signature: String,
        key_id: String,
    }

    pub(super) fn serialize<S: Serializer>(release: &SignedRelease, to: S) -> Result<S::Ok, S::Error> {
        let (manifest, signature) = (STANDARD.encode(&release.manifest), STANDARD.encode(&release.signature));
        Text { manifest, signature, key_id: release.key_id.to_string() }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SignedRelease, D::Error> {
        let text = Text::deserialize(from)?;
        Ok(SignedRelease {
            manifest: STANDARD.decode(&text.manifest).map_err(D::Error::custom)?,
            signature: STANDARD.decode(&text.signature).map_err(D::Error::custom)?,
            key_id: text.key_id.parse().map_err(D::Error::custom)?,
        })
    }
}
