//! What a release is, who vouches for it, and whether the bytes at hand are the ones that were vouched for.
//!
//! Server, command line and agent use the same code: values and bytes in, values and bytes out; no files, no clock, no
//! chance of its own. Trust is a value of type [`trust::VerifiedRelease`]: nothing but a [`trust::Trust`] makes one, so a
//! release that nobody verified cannot reach the code that installs it.
//!
//! To add a field to the manifest: `manifest.rs` (read and canonical form), a golden in `tests/golden`, and a new
//! signature context in `sign.rs`, because a device that does not know the field must not accept it.

pub mod digest;
pub mod manifest;
pub mod sign;
pub mod trust;
pub mod version;

pub use digest::{Hasher, Mismatch, Sha256};
pub use manifest::{Artifact, BadManifest, Manifest, NoArtifact, select};
pub use sign::{BadKey, KeyId, Signature, SigningKey, VerifyingKey};
pub use trust::{Refused, SignedRelease, Signers, Trust, VerifiedRelease};
