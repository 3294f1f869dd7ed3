//! The release manifest: a name, a version, and for each hardware revision exactly one artifact.
//!
//! [`Manifest::parse`] is strict: unknown or repeated fields, a hardware revision that two artifacts claim, names that are
//! paths, and anything beyond `base::limits` are refused, so that later code has nothing left to check. What is signed are
//! the manifest's exact bytes; [`Manifest::canonical`] is the form in which our own tools write it.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_base::{Timestamp, limits};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;

/// Hardware revisions that one artifact may serve.
pub const HARDWARE_PER_ARTIFACT: usize = 256;
/// Bytes of a release name, a version or a file name.
pub const NAME_BYTES: usize = 128;

/// One file of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    // Fields stand in the order of the canonical form: sorted by name.
    /// A file name without any path.
    pub filename: String,
    /// The hardware revisions that it is made for; sorted, none twice, at least one.
    pub hardware: Vec<String>,
    pub sha256: Sha256,
    /// Bytes, at least one.
    pub size: u64,
}

/// What a release consists of. A value of this type has been checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Sorted by file name; no hardware revision stands in two of them.
    artifacts: Vec<Artifact>,
    created_at: Timestamp,
    /// By hardware revision: what a device measures that runs this release, digests by name. Left out where it is empty,
    /// so that manifests without it are the same bytes as before.
    #[serde(skip_serializing_if = "Measurements::is_empty")]
    measurements: Measurements,
    name: String,
    version: String,
}

/// Digests that are good, by hardware revision and by what is measured (`pcr/4`, `event/4`, `software/BL`).
pub type Measurements = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    #[error("manifest of {size} bytes; {max} at most")]
    TooLarge { size: usize, max: usize },
    #[error("manifest is not the JSON that it must be: {0}")]
    Json(String),
    #[error("`{field}`: {rule}")]
    Field { field: &'static str, rule: &'static str },
    #[error("{count} artifacts; between 1 and {max}")]
    ArtifactCount { count: usize, max: usize },
    #[error("two artifacts claim hardware revision `{hardware}`")]
    Ambiguous { hardware: String },
    #[error("two artifacts are named `{filename}`")]
    RepeatedFile { filename: String },
    #[error("two sizes for the artifact with SHA-256 {sha256}")]
    TwoSizes { sha256: Sha256 },
}

/// No artifact of the release is made for this hardware.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no artifact for hardware revision `{hardware}`; the release has {known:?}")]
pub struct NoArtifact {
    pub hardware: String,
    /// Every revision that the release has an artifact for.
    pub known: Vec<String>,
}

/// The fields as they stand in the JSON, before they are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    name: String,
    version: String,
    created_at: Timestamp,
    artifacts: Vec<Artifact>,
    #[serde(default)]
    measurements: Measurements,
}

impl Manifest {
    /// Reads a manifest and refuses all that is not exactly one.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadManifest> {
        if bytes.len() > limits::MANIFEST_BYTES {
            return Err(BadManifest::TooLarge { size: bytes.len(), max: limits::MANIFEST_BYTES });
        }
        let read: Unchecked = serde_json::from_slice(bytes).map_err(|error| BadManifest::Json(error.to_string()))?;
        Self::new(read.name, read.version, read.created_at, read.artifacts)?.with_measurements(read.measurements)
    }

    /// The manifest with what devices measure that run it.
    ///
    /// # Errors
    /// Where they are of a hardware revision that the manifest has no artifact for, or have another form than
    /// `name: [hex digests]`.
    pub fn with_measurements(self, measurements: Measurements) -> Result<Self, BadManifest> {
        let bad = |rule| BadManifest::Field { field: "measurements", rule };
        let known = self.hardware();
        for (hardware, digests) in &measurements {
            if !known.contains(&hardware.as_str()) {
                return Err(bad("for hardware revisions that the release has an artifact for"));
            }
            if digests.is_empty() || digests.values().any(BTreeSet::is_empty) {
                return Err(bad("at least one name, each with at least one digest"));
            }
            if !digests.keys().all(|name| is_measured(name)) || !digests.values().flatten().all(|text| is_digest(text))
            {
                return Err(bad(
                    "names of 1 to 128 visible ASCII characters, digests in lower-case hex of 16 to 64 bytes",
                ));
            }
        }
        let manifest = Self { measurements, ..self };
        let size = manifest.canonical().len();
        if size > limits::MANIFEST_BYTES {
            return Err(BadManifest::TooLarge { size, max: limits::MANIFEST_BYTES });
        }
        Ok(manifest)
    }

    /// A manifest of these parts, checked as [`Self::parse`] does and put in order.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn new(
        name: String,
        version: String,
        created_at: Timestamp,
        mut artifacts: Vec<Artifact>,
    ) -> Result<Self, BadManifest> {
        check_name("name", &name)?;
        check_name("version", &version)?;
        if created_at < Timestamp::EPOCH {
            return Err(BadManifest::Field { field: "created_at", rule: "milliseconds since 1970, not before it" });
        }
        let (count, max) = (artifacts.len(), limits::ARTIFACTS_PER_RELEASE);
        if count == 0 || count > max {
            return Err(BadManifest::ArtifactCount { count, max });
        }
        artifacts.iter_mut().for_each(|artifact| artifact.hardware.sort());
        artifacts.sort_by(|a, b| a.filename.cmp(&b.filename));
        artifacts.iter().try_for_each(check_artifact)?;
        check_together(&artifacts)?;
        let manifest = Self { artifacts, created_at, measurements: Measurements::new(), name, version };
        let size = manifest.canonical().len();
        if size > limits::MANIFEST_BYTES {
            return Err(BadManifest::TooLarge { size, max: limits::MANIFEST_BYTES });
        }
        Ok(manifest)
    }

    /// The one form in which our tools write this manifest: fields sorted by name, artifacts by file name, no white space,
    /// UTF-8. The same manifest gives the same bytes.
    pub fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and lists of them are always JSON")
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn version(&self) -> &str {
        &self.version
    }

    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    /// What a device of this hardware revision measures that runs the release; none where the manifest does not say.
    pub fn measurements(&self, hardware: &str) -> Option<&BTreeMap<String, BTreeSet<String>>> {
        self.measurements.get(hardware)
    }

    /// Every hardware revision that the release has an artifact for, sorted.
    pub fn hardware(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.artifacts.iter().flat_map(|a| &a.hardware).map(String::as_str).collect();
        all.into_iter().collect()
    }
}

/// The one artifact made for this hardware revision. Revisions are compared byte by byte; there are no wildcards.
///
/// # Errors
/// [`NoArtifact`] where none fits. Two that fit cannot be: such a manifest is refused when it is read.
pub fn select<'a>(manifest: &'a Manifest, hardware: &str) -> Result<&'a Artifact, NoArtifact> {
    manifest.artifacts.iter().find(|artifact| artifact.hardware.iter().any(|h| h == hardware)).ok_or_else(|| {
        NoArtifact {
            hardware: hardware.to_owned(),
            known: manifest.hardware().into_iter().map(str::to_owned).collect(),
        }
    })
}

/// Names stand in paths, topics and terminals: ASCII letters, digits and `.`, `_`, `+`, `-`, beginning with a letter or digit.
fn check_name(field: &'static str, text: &str) -> Result<(), BadManifest> {
    let good = (1..=NAME_BYTES).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'));
    let rule = "1 to 128 of a-z, A-Z, 0-9, ., _, + and -, beginning with a letter or digit";
    if good { Ok(()) } else { Err(BadManifest::Field { field, rule }) }
}

fn is_measured(name: &str) -> bool {
    (1..=NAME_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_digest(text: &str) -> bool {
    (32..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn check_artifact(artifact: &Artifact) -> Result<(), BadManifest> {
    check_name("artifacts.filename", &artifact.filename)?;
    if artifact.size == 0 || artifact.size > limits::ARTIFACT_BYTES {
        return Err(BadManifest::Field { field: "artifacts.size", rule: "1 byte to 16 GiB" });
    }
    if artifact.hardware.is_empty() || artifact.hardware.len() > HARDWARE_PER_ARTIFACT {
        return Err(BadManifest::Field { field: "artifacts.hardware", rule: "1 to 256 hardware revisions" });
    }
    artifact.hardware.iter().try_for_each(|hardware| {
        let good = (1..=NAME_BYTES).contains(&hardware.len())
            && hardware.trim() == hardware
            && !hardware.chars().any(char::is_control);
        let rule = "1 to 128 bytes without control characters, no space at either end";
        if good { Ok(()) } else { Err(BadManifest::Field { field: "artifacts.hardware", rule }) }
    })
}

/// What no artifact shows alone: each hardware revision and each file name once, one size for one hash.
fn check_together(artifacts: &[Artifact]) -> Result<(), BadManifest> {
    let (mut revisions, mut files, mut sizes) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for artifact in artifacts {
        if let Some(hardware) = artifact.hardware.iter().find(|hardware| !revisions.insert(hardware.as_str())) {
            return Err(BadManifest::Ambiguous { hardware: hardware.clone() });
        }
        if !files.insert(artifact.filename.as_str()) {
            return Err(BadManifest::RepeatedFile { filename: artifact.filename.clone() });
        }
        if *sizes.entry(artifact.sha256).or_insert(artifact.size) != artifact.size {
            return Err(BadManifest::TwoSizes { sha256: artifact.sha256 });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
