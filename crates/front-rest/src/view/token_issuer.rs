//! Token services.

use fleetward_app::token_issuers::TokenIssuerView as Found;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Time;

/// A token service whose word is taken for a device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokenIssuer)]
pub struct TokenIssuerView {
    pub name: String,
    /// As they were given, with what was not said.
    #[schema(value_type = Object)]
    pub rules: Value,
    /// Where its keys are asked for; null where they were given.
    pub jwks_url: Option<String>,
    /// The server of the keys is held to anchors that were given.
    pub pinned: bool,
    /// SHA-256 of the keys that were given, as the deny list takes it.
    pub keys: Vec<String>,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub disabled_at: Option<Time>,
}

impl From<Found> for TokenIssuerView {
    fn from(found: Found) -> Self {
        Self {
            name: found.name,
            rules: serde_json::to_value(&found.rules).unwrap_or(Value::Null),
            jwks_url: found.jwks_url,
            pinned: found.pinned,
            keys: found.keys,
            created_by: found.created_by,
            created_at: Time(found.created_at),
            updated_at: Time(found.updated_at),
            disabled_at: found.disabled_at.map(Time),
        }
    }
}
