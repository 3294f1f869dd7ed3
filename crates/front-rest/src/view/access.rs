//! Tenants, tokens, and who one is.

use fleetward_app::enrollment_requests::EnrollmentRequest;
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// A customer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub struct TenantView {
    /// Fixed for good: it stands in certificates, EST labels and paths.
    pub name: String,
    pub display_name: String,
    pub created_at: Time,
    pub revision: u64,
}

/// What a tenant has decided on the identities of its devices, section by section.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(as = IdentityPolicy, example = json!({ "certificates": { "leaf_days": 90, "backdate_minutes": 5 } }))]
pub struct IdentityPolicyView {
    #[schema(value_type = Object)]
    pub sections: serde_json::Map<String, serde_json::Value>,
}

/// Keys by their names; never a key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vault)]
pub struct VaultView {
    /// What keeps the root key shut; of the installation only.
    pub seal: Option<String>,
    /// Present while the keys are disabled.
    pub disabled: Option<VaultHoldView>,
    pub keys: Vec<VaultKeyView>,
}

/// Why and since when keys are disabled.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VaultHold)]
pub struct VaultHoldView {
    pub reason: String,
    pub by: String,
    pub at: Time,
}

/// A key by its name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VaultKey)]
pub struct VaultKeyView {
    /// root, owner, anchor or master.
    pub kind: String,
    pub version: u64,
    pub key_id: String,
    /// Of a root key its seal; of the others the root key that wraps it.
    pub wrapped_by: String,
    /// The newest seals; the others open what they had sealed, until nothing needs them.
    pub active: bool,
    pub created_at: Time,
    pub retired_at: Option<Time>,
}

/// A key with which requests are signed as AWS's clients sign them, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccessKey)]
pub struct AccessKeyView {
    /// What AWS's clients call the access key id.
    pub id: String,
    pub name: String,
    /// owner, operator or viewer.
    pub role: &'static str,
    pub created_by: String,
    pub created_at: Time,
    pub last_used_at: Option<Time>,
    /// It counts no more since.
    pub disabled_at: Option<Time>,
}

/// An access key with its secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewAccessKey)]
pub struct NewAccessKeyView {
    pub id: String,
    /// What AWS's clients call the secret access key. It cannot be shown again.
    pub secret: String,
}

/// A token of the API, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiToken)]
pub struct ApiTokenView {
    pub id: String,
    pub name: String,
    /// admin, owner, operator, viewer or broker.
    pub role: &'static str,
    pub created_by: String,
    pub created_at: Time,
    pub expires_at: Option<Time>,
    pub last_used_at: Option<Time>,
    pub revoked_at: Option<Time>,
}

/// A token of the API with its secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewApiToken)]
pub struct NewApiTokenView {
    pub id: String,
    /// Send it as `Authorization: Bearer TOKEN`. It cannot be shown again.
    pub token: String,
    pub expires_at: Time,
}

/// The first administrator's token, shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FirstToken)]
pub struct FirstTokenView {
    /// Send it as `Authorization: Bearer TOKEN`. It cannot be shown again.
    pub token: String,
}

/// Who the bearer is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhoAmI)]
pub struct WhoAmIView {
    /// The token's id.
    pub id: String,
    pub name: String,
    pub role: &'static str,
    /// Absent for a token of the installation.
    pub tenant: Option<String>,
    /// What it may do within the tenants that it belongs to.
    pub permissions: Vec<&'static str>,
}

/// A one-time enrolment token, or a challenge for SCEP, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnrollToken)]
pub struct EnrollTokenView {
    pub id: String,
    /// The only device that it is good for.
    pub device: String,
    /// open, used, expired or revoked.
    pub state: &'static str,
    /// How often it was presented.
    pub attempts: u64,
    pub created_by: String,
    pub created_at: Time,
    pub expires_at: Time,
    pub used_at: Option<Time>,
    pub revoked_at: Option<Time>,
}

/// A one-time enrolment token with its secret, shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewEnrollToken)]
pub struct NewEnrollTokenView {
    pub id: String,
    /// The only device that it is good for.
    pub device: String,
    /// The device sends it as the password of HTTP Basic, with its name as user (EST, RFC 7030 §3.2.3).
    pub token: String,
    pub expires_at: Time,
}

/// A device that waits until a person lets it in, or waited.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnrollmentRequest)]
pub struct EnrollmentRequestView {
    /// Of tenant, public key and subject: the same request has the same id.
    pub id: String,
    /// What people type.
    pub user_code: String,
    pub device: String,
    /// The way in that it asked by.
    pub way: String,
    /// SHA-256 of its public key, to be compared with what the device shows; none where it has sent none yet.
    pub key_fingerprint: Option<String>,
    /// What is known of it besides.
    #[schema(value_type = Object)]
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// From where it asked.
    pub address: Option<String>,
    /// pending, approved, denied, used or expired.
    pub state: &'static str,
    pub created_at: Time,
    pub expires_at: Time,
    pub decided_by: Option<String>,
    pub decided_at: Option<Time>,
    pub note: Option<String>,
    /// The enrolment token that it was given.
    pub token: Option<String>,
}

impl EnrollmentRequestView {
    pub fn new(request: EnrollmentRequest) -> Self {
        Self {
            id: request.id,
            user_code: request.user_code,
            device: request.device.to_string(),
            way: request.way,
            key_fingerprint: request.key_fingerprint,
            facts: request.facts,
            address: request.address,
            state: request.state,
            created_at: Time(request.created_at),
            expires_at: Time(request.expires_at),
            decided_by: request.decided_by,
            decided_at: request.decided_at.map(Time),
            note: request.note,
            token: request.token.map(|id| id.to_string()),
        }
    }
}

/// A one-time challenge for SCEP with its text, shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewScepChallenge)]
pub struct NewScepChallengeView {
    pub id: String,
    /// The only device that it is good for.
    pub device: String,
    /// The device puts it into its request as the challengePassword (SCEP, RFC 8894 §2.4).
    pub challenge: String,
    pub expires_at: Time,
}
