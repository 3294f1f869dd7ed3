//! Tenants, tokens, and who one is.

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

/// A token of the API, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiToken)]
pub struct ApiTokenView {
    pub id: String,
    pub name: String,
    /// admin, owner, operator or viewer.
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

/// A one-time enrolment token, without its secret.
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
