//! The job document: what a deployment asks of a device.
//!
//! It is no AWS message: AWS leaves the document to its user. A device believes the manifest, whose signature it checks
//! itself, and nothing else in here.

use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Install the release.
    Update,
    /// Go back to what ran before it.
    Rollback,
}

/// One job, as a device gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDocument {
    pub operation: Operation,
    /// The rollout's id.
    pub rollout: String,
    pub release: ReleaseName,
    /// The manifest's exact bytes, in base64.
    pub manifest: String,
    /// The Ed25519 signature over them, in base64.
    pub signature: String,
    /// The key that made it: 32 hex digits.
    pub key_id: String,
    /// Absent on the way back: nothing is downloaded then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseName {
    pub name: String,
    pub version: String,
}

/// The artifact that fits the device. Hash and size stand in the manifest too; a device compares them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Lower-case hex.
    pub sha256: String,
    pub size: u64,
    /// Absolute, on the devices' HTTP door; asks for the device's certificate.
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_reads_as_it_is_documented() {
        let text = r#"{"operation":"rollback","rollout":"r","release":{"name":"base","version":"2.0"},"manifest":"bQ==","signature":"cw==","key_id":"00"}"#;
        let document: JobDocument = serde_json::from_str(text).expect("a document");
        assert_eq!((document.operation, document.artifact.is_none()), (Operation::Rollback, true));
        assert_eq!(serde_json::to_string(&document).expect("JSON"), text);
    }
}
