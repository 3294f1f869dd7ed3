//! Devices that change hands.

use fleetward_app::transfers::{NewTransfer, Received, Transfer};
use fleetward_base::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{NewEnrollTokenView, Time};

/// An offer of a device to another tenant, without its code.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Transfer)]
pub struct TransferView {
    pub id: String,
    pub device: String,
    pub to_tenant: String,
    /// open, wiping, overdue, done, canceled or expired.
    pub state: &'static str,
    pub created_by: String,
    pub created_at: Time,
    pub expires_at: Time,
    pub accepted_at: Option<Time>,
    pub canceled_at: Option<Time>,
    /// What the tenant's policy asks of the device before it goes: required, attempted or none.
    pub wipe: Option<&'static str>,
    /// Until when the device is waited for.
    pub wipe_by: Option<Time>,
    /// When the device was told, by its own asking.
    pub told_at: Option<Time>,
    /// When the device became the other tenant's.
    pub completed_at: Option<Time>,
    /// What is known of its memory then: confirmed, unconfirmed, unreachable, nothing or skipped.
    pub wiped: Option<&'static str>,
}

impl TransferView {
    pub fn new(transfer: Transfer, now: Timestamp) -> Self {
        let state = match &transfer {
            Transfer { completed_at: Some(_), .. } => "done",
            Transfer { canceled_at: Some(_), .. } => "canceled",
            Transfer { accepted_at: Some(_), overdue_at: Some(_), .. } => "overdue",
            Transfer { accepted_at: Some(_), .. } => "wiping",
            transfer if transfer.expires_at <= now => "expired",
            _ => "open",
        };
        Self {
            id: transfer.id.to_string(),
            device: transfer.device.to_string(),
            to_tenant: transfer.to_tenant.to_string(),
            state,
            created_by: transfer.created_by,
            created_at: Time(transfer.created_at),
            expires_at: Time(transfer.expires_at),
            accepted_at: transfer.accepted_at.map(Time),
            canceled_at: transfer.canceled_at.map(Time),
            wipe: transfer.wipe.map(|rule| rule.as_str()),
            wipe_by: transfer.wipe_by.map(Time),
            told_at: transfer.told_at.map(Time),
            completed_at: transfer.completed_at.map(Time),
            wiped: transfer.wiped.map(|outcome| outcome.as_str()),
        }
    }
}

/// An offer with its code, shown this once.
#[derive(Serialize, ToSchema)]
#[schema(as = NewTransfer)]
pub struct NewTransferView {
    pub id: String,
    pub device: String,
    pub to_tenant: String,
    /// Give it to the other tenant, which accepts with it. It cannot be shown again.
    pub code: String,
    pub expires_at: Time,
}

impl NewTransferView {
    pub fn new(made: NewTransfer) -> Self {
        Self {
            id: made.id.to_string(),
            device: made.device.to_string(),
            to_tenant: made.to_tenant.to_string(),
            code: made.code,
            expires_at: Time(made.expires_at),
        }
    }
}

/// A device that was taken over.
#[derive(Serialize, ToSchema)]
#[schema(as = ReceivedDevice)]
pub struct ReceivedDeviceView {
    /// Its name here.
    pub device: String,
    /// Who gave it.
    pub from_tenant: String,
    /// With what it enrols, shown this once.
    pub enroll_token: NewEnrollTokenView,
    /// Until when the giver waits for the device, which is to wipe itself first and then comes by itself; absent where it was
    /// handed over at once.
    pub waits_until: Option<Time>,
}

impl ReceivedDeviceView {
    pub fn new(received: Received) -> Self {
        let token = received.token;
        Self {
            device: token.device.to_string(),
            from_tenant: received.from_tenant.to_string(),
            waits_until: received.waits_until.map(Time),
            enroll_token: NewEnrollTokenView {
                id: token.id.to_string(),
                device: token.device.to_string(),
                token: token.token,
                expires_at: Time(token.expires_at),
            },
        }
    }
}
