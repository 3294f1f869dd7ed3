//! How a device stands with its attestation, what vouches for evidence, and what is good.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::attestation::{Anchor, AttestationView, Reference};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// How a device stands with its attestation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceAttestation)]
pub struct DeviceAttestationView {
    /// Whether its class has to attest.
    pub required: bool,
    /// Why it is held back: never-attested, warned, failed or overdue; null where attestation does not hold it back.
    pub restricted: Option<&'static str>,
    /// affirming, warning or contraindicated; null where it never attested since it enrolled.
    pub verdict: Option<String>,
    pub reasons: Vec<String>,
    /// tpm2, eat-cwt, eat-jwt, psa or dice.
    pub format: Option<String>,
    /// What its identity stands on.
    pub root_of_trust: Option<String>,
    /// What no other hardware has: of a TPM the SHA-256 of its endorsement key.
    pub hardware_identity: Option<String>,
    /// The anchor that vouches for it.
    pub anchor: Option<String>,
    pub attested_at: Option<Time>,
    pub due_at: Option<Time>,
    /// How often the machine was started, ever.
    pub boots: Option<u64>,
    /// What it measured last: digests by name.
    pub measurements: BTreeMap<String, BTreeSet<String>>,
    /// The certificate of its attestation key, DER in base64.
    pub key_certificate: Option<String>,
}

impl DeviceAttestationView {
    pub fn new(found: AttestationView) -> Self {
        let mut measurements: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, digest) in found.measurements {
            measurements.entry(name).or_default().insert(digest);
        }
        Self {
            required: found.required,
            restricted: found.restricted,
            verdict: found.verdict,
            reasons: found.reasons,
            format: found.format,
            root_of_trust: found.root_of_trust,
            hardware_identity: found.hardware_identity,
            anchor: found.anchor,
            attested_at: found.attested_at.map(Time),
            due_at: found.due_at.map(Time),
            boots: found.boots,
            measurements,
            key_certificate: found.key_certificate.map(|der| BASE64_STANDARD.encode(der)),
        }
    }
}

/// What vouches for evidence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AttestationAnchor)]
pub struct AttestationAnchorView {
    /// SHA-256 of the certificate or key, in hex.
    pub id: String,
    /// tpm-root, endorsement-key, token-key or dice-root.
    pub kind: String,
    pub name: String,
    /// none, software, tee, tpm2 or secure-element.
    pub root_of_trust: String,
    pub created_by: String,
    pub created_at: Time,
}

impl AttestationAnchorView {
    pub fn new(anchor: Anchor) -> Self {
        let Anchor { id, kind, name, root, created_by, created_at } = anchor;
        Self { id, kind, name, root_of_trust: root, created_by, created_at: Time(created_at) }
    }
}

/// What is good for a cohort.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AttestationReference)]
pub struct AttestationReferenceView {
    pub id: String,
    pub hardware: String,
    /// `*` for any.
    pub firmware: String,
    /// learning or locked.
    pub state: String,
    /// How many devices teach.
    pub learn: u64,
    /// The devices that taught.
    pub teachers: Vec<String>,
    /// Digests by name.
    pub measurements: BTreeMap<String, BTreeSet<String>>,
    pub revision: u64,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
}

impl AttestationReferenceView {
    pub fn new(found: Reference) -> Self {
        Self {
            id: found.id,
            hardware: found.hardware,
            firmware: found.firmware,
            state: found.state,
            learn: found.wanted,
            teachers: found.teachers,
            measurements: found.measurements,
            revision: found.revision,
            created_by: found.created_by,
            created_at: Time(found.created_at),
            updated_at: Time(found.updated_at),
        }
    }
}
