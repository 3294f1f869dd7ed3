//! Signers, artifacts and releases.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::releases::{ReleaseView as Found, Stored};
use fleetward_core::release::Signer;
use fleetward_supply::VerifyingKey;
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// A public key whose releases the tenant accepts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Signer)]
pub struct SignerView {
    pub id: String,
    pub name: String,
    /// First half of the SHA-256 of the raw public key, in hex.
    pub key_id: String,
    /// Ed25519, PEM.
    pub public_key: String,
    pub created_at: Time,
    pub revoked_at: Option<Time>,
    pub revision: u64,
}

/// A file that a release can name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Artifact)]
pub struct ArtifactView {
    /// Hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    pub created_at: Time,
}

/// A signed release.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Release)]
pub struct ReleaseView {
    pub id: String,
    pub name: String,
    pub version: String,
    /// The signer's id.
    pub signer: String,
    pub key_id: String,
    /// Every hardware revision that it has an artifact for.
    pub hardware: Vec<String>,
    pub artifacts: Vec<ReleaseArtifactView>,
    /// The exact bytes that were signed, in base64.
    pub manifest: String,
    /// Ed25519 over `fleetward-release-v1`, a zero byte and the manifest; in base64.
    pub signature: String,
    pub created_at: Time,
    pub revision: u64,
}

/// One file of a release.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReleaseArtifact)]
pub struct ReleaseArtifactView {
    pub filename: String,
    pub hardware: Vec<String>,
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl SignerView {
    pub fn new(signer: Signer) -> Self {
        let raw: Option<[u8; 32]> = signer.public_key.as_slice().try_into().ok();
        let key = raw.and_then(|raw| VerifyingKey::from_bytes(raw).ok());
        Self {
            id: signer.id.to_string(),
            name: signer.name,
            key_id: signer.key_id,
            public_key: key.map(|key| key.to_pem()).unwrap_or_default(),
            created_at: Time(signer.created_at),
            revoked_at: signer.revoked_at.map(Time),
            revision: signer.revision,
        }
    }
}

impl ArtifactView {
    pub fn new(stored: Stored) -> Self {
        Self { sha256: stored.sha256.to_string(), size: stored.size, created_at: Time(stored.created_at) }
    }
}

impl ReleaseView {
    pub fn new(found: Found) -> Self {
        let Found { release, manifest } = found;
        let artifact = |artifact: &fleetward_supply::Artifact| ReleaseArtifactView {
            filename: artifact.filename.clone(),
            hardware: artifact.hardware.clone(),
            sha256: artifact.sha256.to_string(),
            size: artifact.size,
        };
        Self {
            id: release.id.to_string(),
            name: release.name,
            version: release.version,
            signer: release.signer.to_string(),
            key_id: release.key_id,
            hardware: manifest.hardware().into_iter().map(str::to_owned).collect(),
            artifacts: manifest.artifacts().iter().map(artifact).collect(),
            manifest: BASE64_STANDARD.encode(release.manifest),
            signature: BASE64_STANDARD.encode(release.signature),
            created_at: Time(release.created_at),
            revision: release.revision,
        }
    }
}
