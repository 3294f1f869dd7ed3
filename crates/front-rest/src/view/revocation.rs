//! Revocations of many, the deny list, and lists of revoked certificates.

use fleetward_app::deny_list::DenyView as Denied;
use fleetward_app::publication::ListView;
use fleetward_app::revocation::{Preview, RevocationView as Found};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Time;

/// A revocation of many, or an ordered replacement.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Revocation)]
pub struct RevocationView {
    pub id: String,
    /// revoke or replace.
    pub kind: &'static str,
    /// What it is aimed at, as it was asked for.
    #[schema(value_type = Object)]
    pub target: Value,
    pub reason: String,
    /// running, waiting (for its moment), finished or canceled.
    pub status: &'static str,
    /// Devices that there were when it began; certificates, where those are the target.
    pub total: u64,
    pub done: u64,
    /// Certificates that were revoked, or marked to be replaced.
    pub certificates: u64,
    /// Devices of a replacement that hold no new certificate yet.
    pub left: Option<u64>,
    /// When what was not replaced is revoked.
    pub due_at: Option<Time>,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub finished_at: Option<Time>,
}

impl From<Found> for RevocationView {
    fn from(found: Found) -> Self {
        Self {
            id: found.id.to_string(),
            kind: found.kind.as_str(),
            target: serde_json::to_value(&found.target).unwrap_or(Value::Null),
            reason: found.reason,
            status: found.status.as_str(),
            total: found.total,
            done: found.done,
            certificates: found.certificates,
            left: found.left,
            due_at: found.due_at.map(Time),
            created_by: found.created_by,
            created_at: Time(found.created_at),
            updated_at: Time(found.updated_at),
            finished_at: found.finished_at.map(Time),
        }
    }
}

/// What a revocation would meet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevocationPreview)]
pub struct RevocationPreviewView {
    pub devices: u64,
    /// Certificates that still count.
    pub certificates: u64,
    /// The first devices, by name.
    pub examples: Vec<String>,
    /// How many of those may connect now.
    pub active: u64,
}

impl From<Preview> for RevocationPreviewView {
    fn from(preview: Preview) -> Self {
        Self {
            devices: preview.devices,
            certificates: preview.certificates,
            examples: preview.examples.iter().map(ToString::to_string).collect(),
            active: preview.active,
        }
    }
}

/// An entry of the deny list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DenyListEntry)]
pub struct DenyListEntryView {
    /// serial, key or hardware.
    pub kind: String,
    pub value: String,
    pub reason: String,
    pub created_by: String,
    pub created_at: Time,
}

impl From<Denied> for DenyListEntryView {
    fn from(entry: Denied) -> Self {
        let Denied { kind, value, reason, created_by, created_at } = entry;
        Self { kind, value, reason, created_by, created_at: Time(created_at) }
    }
}

/// A signed list of revoked certificates, or a shard of one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Crl)]
pub struct CrlView {
    /// The fingerprint of its authority.
    pub authority: String,
    /// The last digits of the serial numbers in it; empty for the whole list.
    pub shard: String,
    pub number: u64,
    pub this_update: Time,
    pub next_update: Time,
    pub entries: u64,
    /// Where others fetch it, if the server knows its URL for that.
    pub url: Option<String>,
}

impl From<ListView> for CrlView {
    fn from(list: ListView) -> Self {
        Self {
            authority: list.authority,
            shard: list.shard,
            number: list.number,
            this_update: Time(list.this_update),
            next_update: Time(list.next_update),
            entries: list.entries,
            url: list.url,
        }
    }
}
