//! Releases: whom a tenant accepts them from, the artifacts, and the signed manifests that name them.
//!
//! The server never holds a key that signs (invariant 3): it knows public keys, and refuses every release that none of
//! them signed. Artifacts are stored by their hash, once in a tenant, and count only with their row; bytes without a row
//! are nothing. A release never changes.

mod artifacts;
mod create;
mod fetch;
mod read;
mod signers;

use fleetward_core::release::{Release, Signer};
use fleetward_store::{ReleaseRow, SignerRow};
use fleetward_supply::Manifest;

use crate::error::Result;
use crate::rollouts::observe::manifest_of;

pub use artifacts::{Stored, artifact, artifacts, upload_artifact};
pub use create::create_release;
pub use fetch::{Fetched, device_artifact, open_artifact};
pub use read::{release, releases};
pub use signers::{create_signer, revoke_signer, signer, signers};

/// A release and what its manifest says.
#[derive(Clone, Debug)]
pub struct ReleaseView {
    pub release: Release,
    pub manifest: Manifest,
}

fn view(row: ReleaseRow) -> Result<ReleaseView> {
    let manifest = manifest_of(&row)?;
    let ReleaseRow { id, name, version, signer, key_id, manifest: bytes, signature, created_at, revision } = row;
    let release = Release { id, name, version, signer, key_id, manifest: bytes, signature, created_at, revision };
    Ok(ReleaseView { release, manifest })
}

fn signer_of(row: SignerRow) -> Signer {
    let SignerRow { id, name, key_id, public_key, created_at, revoked_at, revision } = row;
    Signer { id, name, key_id, public_key, created_at, revoked_at, revision }
}
