//! The device shadow: desired and reported state, with the rules of the AWS device shadow service.
//!
//! One function per request, the same for MQTT and REST: [`update`], [`view`], [`delete`]. Each takes the stored
//! [`Document`] and gives the next one with everything that has to be said about it; bytes on the wire are made elsewhere.
//! Where the contract leaves a choice, it was made so, and a test holds it:
//!
//! - an accepted update that leaves desired and reported different repeats the whole delta, whatever it touched;
//! - `accepted` echoes the submitted fragment with its nulls;
//! - nesting is counted in objects and arrays from the root of the request, eight at most: six within a section;
//! - a nested object that loses its last key stays, empty; a section that does is gone.
//!
//! Each change goes into the [`history`]; what goes to and fro without end is found by [`oscillation`].

mod delta;
pub mod history;
mod merge;
pub mod oscillation;
mod refused;
mod request;
mod stale;

use std::time::Duration;

use fleetward_base::{Timestamp, limits};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use delta::Delta;
pub use history::Retention;
pub(crate) use merge::same_shape;
pub use oscillation::{Oscillation, Watch};
pub use refused::Refused;
pub use request::{SectionPatch, UpdateRequest};
pub use stale::Stale;

/// Desired and reported. The same shape holds the state, the metadata, and what is sent of both.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Sections {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Map<String, Value>>,
}

impl Sections {
    pub fn is_empty(&self) -> bool {
        self.desired.is_none() && self.reported.is_none()
    }

    /// As it is sent: `{}` where nothing is in it.
    pub fn to_value(&self) -> Value {
        let named = [("desired", &self.desired), ("reported", &self.reported)];
        let present = named.into_iter().filter_map(|(name, section)| Some((name.to_owned(), section.clone()?.into())));
        Value::Object(present.collect())
    }

    fn bytes(&self) -> usize {
        let size = |section: &Option<Map<String, Value>>| {
            section.as_ref().map_or(0, |map| serde_json::to_vec(map).map_or(usize::MAX, |json| json.len()))
        };
        size(&self.desired).saturating_add(size(&self.reported))
    }
}

/// A shadow as it is stored. `state` and `metadata` are JSON texts there.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub state: Sections,
    /// `{"timestamp": seconds}` in place of each leaf, one per element of an array.
    pub metadata: Sections,
    pub version: u64,
    pub updated_at: Timestamp,
    /// It was deleted then; what is left is its version.
    pub deleted_at: Option<Timestamp>,
    /// How many changes its history has had.
    pub changes: u64,
    pub watch: Watch,
}

/// How long a deleted shadow's version is remembered: one made anew within it counts on, later it begins at 1.
pub const VERSION_MEMORY: Duration = Duration::from_secs(48 * 3600);

/// What an accepted update gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// To be stored.
    pub document: Document,
    /// What was submitted, nulls included, with the metadata of exactly that.
    pub accepted: Fragment,
    /// Where desired and reported differ now.
    pub delta: Option<Delta>,
    /// The document before, where there was one.
    pub previous: Option<Document>,
    /// How the state changed, for the history; empty where it did not.
    pub patch: Map<String, Value>,
    /// Paths that this update shows to go to and fro.
    pub oscillates: Vec<String>,
    /// This update shows that the device started with less than it had.
    pub stale: bool,
    pub client_token: Option<String>,
}

/// State and metadata of a part of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    pub state: Value,
    pub metadata: Value,
}

/// A shadow as it is answered to a get.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub document: Document,
    pub delta: Option<Delta>,
}

/// What `request` makes of `current` (`None` where there never was one) at `now`.
pub fn update(current: Option<&Document>, request: &UpdateRequest, now: Timestamp) -> Result<Applied, Refused> {
    update_at(current, request, now, false)
}

/// As [`update`]; `at_start`: by a device that has just connected.
pub fn update_at(
    current: Option<&Document>,
    request: &UpdateRequest,
    now: Timestamp,
    at_start: bool,
) -> Result<Applied, Refused> {
    let known = known_version(current, now);
    if request.version.is_some_and(|expected| expected != known) {
        return Err(Refused::VersionConflict);
    }
    let previous = current.filter(|document| document.deleted_at.is_none());
    let (mut state, mut metadata) = match previous {
        Some(document) if !request.clear => (document.state.clone(), document.metadata.clone()),
        _ => (Sections::default(), Sections::default()),
    };
    let seconds = now.secs();
    merge::section(&mut state.desired, &mut metadata.desired, &request.desired, seconds);
    merge::section(&mut state.reported, &mut metadata.reported, &request.reported, seconds);
    if state.bytes() > limits::SHADOW_STATE_BYTES {
        return Err(Refused::TooLarge);
    }
    let nothing = Sections::default();
    let before = previous.map_or(&nothing, |document| &document.state);
    let mut watch = previous.map(|document| document.watch.clone()).unwrap_or_default();
    let (oscillates, stale) = watched(&mut watch, before, &state, now, at_start);
    let patch = history::diff(before, &state);
    let changes = current.map_or(0, |document| document.changes).saturating_add(u64::from(!patch.is_empty()));
    let version = known.saturating_add(1);
    let document = Document { state, metadata, version, updated_at: now, deleted_at: None, changes, watch };
    Ok(Applied {
        accepted: merge::accepted(request, seconds),
        delta: delta::of(&document),
        previous: previous.cloned(),
        patch,
        oscillates,
        stale,
        document,
        client_token: request.client_token.clone(),
    })
}

/// What an update shows beside its own: paths that oscillate, and a start with less than there was.
fn watched(
    watch: &mut Watch,
    before: &Sections,
    after: &Sections,
    now: Timestamp,
    at_start: bool,
) -> (Vec<String>, bool) {
    let none = Map::new();
    let moved = oscillation::Moved {
        desired: (before.desired.as_ref().unwrap_or(&none), after.desired.as_ref().unwrap_or(&none)),
        reported: (before.reported.as_ref().unwrap_or(&none), after.reported.as_ref().unwrap_or(&none)),
        at_start,
    };
    let stale = watch.note_start(moved.reported, now);
    (watch.note(&moved, now), stale)
}

/// Whether the delta of an update need not be told at once: a device that has just connected says what it booted with, which
/// is less than it once had, and likely knows more in a moment. `reports`: it speaks of itself and asks for nothing. What
/// says nothing of its start (every client of AWS) is told as ever.
pub fn is_held(applied: &Applied, reports: bool, at_start: bool) -> bool {
    reports && at_start && applied.delta.is_some() && applied.document.watch.stale().is_some()
}

/// What a get answers. `name` is what a refusal calls the shadow: the thing, or `thing~shadow`.
pub fn view(current: Option<&Document>, name: &str) -> Result<View, Refused> {
    let document = present(current, name)?;
    Ok(View { document: document.clone(), delta: delta::of(document) })
}

/// The shadow deleted: only its version and when stay. The answer to the request carries that version.
pub fn delete(current: Option<&Document>, name: &str, now: Timestamp) -> Result<Document, Refused> {
    let document = present(current, name)?;
    Ok(Document {
        state: Sections::default(),
        metadata: Sections::default(),
        version: document.version,
        updated_at: now,
        deleted_at: Some(now),
        changes: document.changes.saturating_add(1),
        watch: Watch::default(),
    })
}

/// The shadow with nothing of it held to oscillate, and its delta, which holds all again; `None` where nothing did.
pub fn settle(document: &Document) -> Option<(Document, Option<Delta>)> {
    let mut settled = document.clone();
    settled.watch.settle().then(|| {
        let delta = delta::of(&settled);
        (settled, delta)
    })
}

/// The delta of a document as it stands, for replay to a device that subscribes.
pub fn delta(document: &Document) -> Option<Delta> {
    delta::of(document)
}

fn present<'a>(current: Option<&'a Document>, name: &str) -> Result<&'a Document, Refused> {
    current.filter(|document| document.deleted_at.is_none()).ok_or_else(|| Refused::NoShadow { name: name.to_owned() })
}

fn known_version(current: Option<&Document>, now: Timestamp) -> u64 {
    match current {
        Some(Document { deleted_at: Some(deleted), .. }) if now.since(*deleted) > VERSION_MEMORY => 0,
        Some(document) => document.version,
        None => 0,
    }
}

#[cfg(test)]
mod tests;
