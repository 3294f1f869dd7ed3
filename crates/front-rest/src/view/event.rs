//! What happened.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Time;

/// One entry of the journal: a device's time line, a tenant's audit log and the event stream are all made of these.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventView {
    /// Grows in the order of the journal; the `Last-Event-ID` of the stream.
    pub id: i64,
    pub at: Time,
    /// What was done, e.g. `rollout.paused`.
    pub action: &'static str,
    pub actor: ActorView,
    pub device: Option<String>,
    /// What else it is about: a rollout, a release, a token, by id.
    pub subject: Option<String>,
    /// done, refused or failed.
    pub outcome: &'static str,
    /// info, notice, warning or critical.
    pub severity: &'static str,
    /// What is worth knowing, by action.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// The request that caused it.
    pub request_id: Option<String>,
    /// Its number in the tenant's sealed log; absent for about a second until it is sealed.
    pub seq: Option<u64>,
}

/// Who did it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Actor)]
pub struct ActorView {
    /// token, device, system or anonymous.
    pub kind: &'static str,
    pub name: String,
}

/// Refused authentications of one hour that are alike.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuthFailure)]
pub struct AuthFailureView {
    /// When the hour began.
    pub hour: Time,
    /// Why, in one stable word: `expired`, `revoked-certificate`, `unknown-token`.
    pub cause: String,
    /// Whose credential was shown: `issuing`, `factory`, `token` or `unknown`.
    pub issuer: String,
    /// The place that the policy gives to the address; `-` where it gives none.
    pub region: String,
    pub count: u64,
}

/// The outcome of a check of the audit log's hash chain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditVerification)]
pub struct VerificationView {
    /// Every sealed entry is the one that was written.
    pub ok: bool,
    /// Entries that hold, from the first on.
    pub verified: u64,
    /// The number of the first entry that is not what was written.
    pub broken_at: Option<u64>,
    /// The last link that holds, in hex. Keep it elsewhere: it proves that nothing before it was changed.
    pub head: String,
}
