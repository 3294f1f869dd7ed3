//! A device and its certificates.

use std::collections::BTreeMap;

use fleetward_app::attestation::AttestationState;
use fleetward_core::registry::Scalar;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Time;

/// A device: what it is, how it stands, whether it is there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Device)]
pub struct DeviceView {
    /// Fixed for good; also its AWS thing name and its MQTT client id.
    pub name: String,
    /// manufactured, claimed, active, quarantined, suspended, lost or decommissioned.
    pub status: &'static str,
    /// online or offline.
    pub presence: &'static str,
    pub last_seen: Option<Time>,
    pub connected_at: Option<Time>,
    pub disconnected_at: Option<Time>,
    /// Why its last connection ended, in one word.
    pub disconnect_reason: Option<String>,
    /// Where it connected from.
    pub address: Option<String>,
    /// The version that it runs, as it reported it last.
    pub firmware: Option<String>,
    /// Hardware revision: what decides which artifact fits, and the cohort in a rollout.
    pub hardware: String,
    /// sensor, gateway or endpoint.
    pub class: &'static str,
    pub owner: Option<String>,
    pub environment: Option<String>,
    pub site: Option<String>,
    pub location: Option<String>,
    /// The gateway that it stands behind.
    pub parent: Option<String>,
    /// The broker that it is told to use, where that is not the default.
    pub endpoint: Option<String>,
    pub tags: Vec<String>,
    /// Texts, numbers and booleans.
    pub attributes: BTreeMap<String, Value>,
    pub certificate: Option<CertificateRefView>,
    /// How it stands with its attestation; left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<AttestationStateView>,
    /// Expected sign of life, in seconds.
    pub heartbeat_s: Option<u32>,
    pub provisioned_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: u64,
}

/// The certificate that a device uses now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CertificateRef)]
pub struct CertificateRefView {
    /// Lower-case hex.
    pub serial: String,
    pub not_after: Time,
}

/// The gist of a device's attestation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AttestationState)]
pub struct AttestationStateView {
    /// Whether its class has to attest.
    pub required: bool,
    /// Why it is held back: never-attested, warned, failed or overdue; null where attestation does not hold it back.
    pub restricted: Option<&'static str>,
    /// affirming, warning or contraindicated; null where it never attested since it enrolled.
    pub verdict: Option<String>,
    /// The kind of its last evidence: tpm2, eat-cwt, eat-jwt, psa or dice.
    pub format: Option<String>,
    pub attested_at: Option<Time>,
    pub due_at: Option<Time>,
}

impl AttestationStateView {
    fn new(state: AttestationState) -> Self {
        let AttestationState { required, restricted, verdict, format, attested_at, due_at } = state;
        Self { required, restricted, verdict, format, attested_at: attested_at.map(Time), due_at: due_at.map(Time) }
    }
}

/// A certificate that was issued to a device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Certificate)]
pub struct CertificateView {
    /// Lower-case hex.
    pub serial: String,
    /// SHA-256 over the DER, in hex.
    pub fingerprint: String,
    /// issued, active, superseded or revoked.
    pub status: String,
    pub not_before: Time,
    pub not_after: Time,
    pub issued_at: Time,
    /// Its first use on a connection.
    pub proven_at: Option<Time>,
    pub revoked_at: Option<Time>,
    pub reason: Option<String>,
}

impl DeviceView {
    pub fn new(found: fleetward_app::registry::DeviceView) -> Self {
        let fleetward_app::registry::DeviceView { device, presence, attestation } = found;
        Self {
            name: device.id.to_string(),
            status: device.status.as_str(),
            presence: if presence.online { "online" } else { "offline" },
            last_seen: presence.last_seen.map(Time),
            connected_at: presence.connected_at.map(Time),
            disconnected_at: presence.disconnected_at.map(Time),
            disconnect_reason: presence.reason,
            address: presence.address,
            firmware: device.firmware,
            hardware: device.hardware,
            class: device.class.as_str(),
            owner: device.owner,
            environment: device.environment,
            site: device.site,
            location: device.location,
            parent: device.parent.map(|parent| parent.to_string()),
            endpoint: device.endpoint,
            tags: device.tags.into_iter().collect(),
            attributes: device.attributes.into_iter().map(|(key, value)| (key, json(value))).collect(),
            certificate: device
                .certificate
                .map(|used| CertificateRefView { serial: used.serial, not_after: Time(used.not_after) }),
            attestation: attestation.map(AttestationStateView::new),
            heartbeat_s: device.heartbeat_s,
            provisioned_at: device.provisioned_at.map(Time),
            created_at: Time(device.created_at),
            updated_at: Time(device.updated_at),
            revision: device.revision,
        }
    }
}

fn json(value: Scalar) -> Value {
    match value {
        Scalar::Bool(value) => value.into(),
        Scalar::Number(value) => value.into(),
        Scalar::Text(value) => value.into(),
    }
}
