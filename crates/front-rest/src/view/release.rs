//! Signers, artifacts and releases.

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
