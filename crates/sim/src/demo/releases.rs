//! Images, manifests and signatures: made here, as a vendor's build makes them. The private keys never leave this process.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleetward_base::{Clock as _, SystemClock, SystemRng};
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, Signers, SigningKey};
use serde_json::json;

use super::cast::{BASELINE, Ending, GOOD_HARDWARE, NEW, OTHER_HARDWARE, RELEASE_NAME, Tenant};
use crate::json::text;
use crate::rest::Rest;

/// What a tenant has released.
#[derive(Clone, Debug)]
pub(super) struct Published {
    /// Whom its devices believe.
    pub(super) signers: Signers,
    /// PEM of the public key.
    pub(super) public_key: String,
    /// The id of 2.0.
    pub(super) release: String,
    /// SHA-256 of 2.0's image for the good hardware.
    pub(super) artifact: String,
}

/// Makes the tenant's key, has the server accept it, and publishes the baseline and the new release.
pub(super) async fn publish(rest: &Arc<Rest>, tenant: &Tenant) -> anyhow::Result<Published> {
    let key = SigningKey::generate(&SystemRng);
    let public_key = key.verifying_key().to_pem();
    rest.create_signer(&tenant.id, "build", &public_key).await?;
    release(rest, tenant, &key, BASELINE).await?;
    let (release, artifact) = release(rest, tenant, &key, NEW).await?;
    let signers = [key.verifying_key()].into_iter().collect();
    Ok(Published { signers, public_key, release, artifact })
}

async fn release(rest: &Rest, tenant: &Tenant, key: &SigningKey, version: &str) -> anyhow::Result<(String, String)> {
    let mut artifacts = Vec::new();
    let mut first = String::new();
    for hardware in [GOOD_HARDWARE, OTHER_HARDWARE] {
        let content = image(tenant, hardware, version);
        let sha256 = Sha256::of(&content);
        rest.upload(&tenant.id, &sha256.to_string(), content.clone()).await?;
        if first.is_empty() {
            first = sha256.to_string();
        }
        artifacts.push(Artifact {
            filename: format!("{RELEASE_NAME}-{version}-{hardware}.img"),
            hardware: vec![hardware.to_owned()],
            sha256,
            size: content.len() as u64,
        });
    }
    let now = SystemClock::new().now();
    let manifest = Manifest::new(RELEASE_NAME.to_owned(), version.to_owned(), now, artifacts)?;
    let signed = SignedRelease::sign(&manifest, key);
    let body = json!({
        "manifest": STANDARD.encode(&signed.manifest),
        "signature": STANDARD.encode(&signed.signature),
        "key_id": signed.key_id.to_string(),
    });
    let created = rest.post(&format!("/v1/tenants/{}/releases", tenant.id), &body).await?;
    Ok((text(&created, "id")?, first))
}

/// An image is a shell script that says who it is and whose end is its self-test; some padding makes it worth a download.
pub(super) fn image(tenant: &Tenant, hardware: &str, version: &str) -> Bytes {
    let bad = tenant.ending == Ending::Stopped && hardware == OTHER_HARDWARE && version == NEW;
    let padding = "# the rest of an operating system would stand here\n".repeat(1200);
    let code = u8::from(bad);
    Bytes::from(format!(
        "#!/bin/sh\n# {RELEASE_NAME} {version} for {hardware} of {}\n{padding}echo {RELEASE_NAME} {version}\nexit {code}\n",
        tenant.id
    ))
}
