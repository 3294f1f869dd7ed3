//! Issuers of tenants.

use fleetward_app::issuers::{IssuerCheck, IssuerView as Found, RecentHealth};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Time;

/// Who signs the certificates of the tenant's devices.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Issuer)]
pub struct IssuerView {
    /// `kind` and what that kind has.
    #[schema(value_type = Object)]
    pub issuer: Map<String, Value>,
    /// Whether there is a credential; it is never shown.
    pub credential: bool,
    pub recent: Option<IssuerRecentView>,
    /// What the built-in authority signs all the same.
    pub signed_here: Vec<SignedHereView>,
    pub updated_at: Option<Time>,
    /// 0 where nobody ever said.
    pub revision: u64,
}

/// A purpose for which an issuer elsewhere makes no certificates.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedHere)]
pub struct SignedHereView {
    /// claim, waiting, registration-authority or attestation-key.
    pub purpose: &'static str,
    /// Why not, for people.
    pub why: &'static str,
}

/// How it went since the start of the server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IssuerRecent)]
pub struct IssuerRecentView {
    /// It is left alone for a while, because it did not answer.
    pub paused: bool,
    pub last_success: Option<Time>,
    pub last_failure: Option<Time>,
    pub failure: Option<String>,
}

impl IssuerRecentView {
    fn new(recent: RecentHealth) -> Self {
        let (last_failure, failure) = recent.last_failure.map(|(at, said)| (Time(at), said)).unzip();
        Self { paused: recent.paused, last_success: recent.last_success.map(Time), last_failure, failure }
    }
}

impl IssuerView {
    pub(crate) fn new(found: Found) -> Self {
        let issuer = match serde_json::to_value(&found.config) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        Self {
            issuer,
            credential: found.credential,
            recent: found.recent.map(IssuerRecentView::new),
            signed_here: found
                .signed_here
                .into_iter()
                .map(|(purpose, why)| SignedHereView { purpose: purpose.as_str(), why })
                .collect(),
            updated_at: found.updated_at.map(Time),
            revision: found.revision,
        }
    }
}

/// What became of asking an issuer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IssuerCheck)]
pub struct IssuerCheckView {
    pub kind: String,
    pub healthy: bool,
    pub fault: Option<String>,
    /// The end of the authority that signs.
    pub authority_ends: Option<Time>,
    pub recent: Option<IssuerRecentView>,
}

impl IssuerCheckView {
    pub(crate) fn new(found: IssuerCheck) -> Self {
        Self {
            kind: found.kind.to_string(),
            healthy: found.fault.is_none(),
            fault: found.fault,
            authority_ends: found.authority_ends.map(Time),
            recent: found.recent.map(IssuerRecentView::new),
        }
    }
}
