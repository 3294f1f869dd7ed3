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
    /// open, accepted, canceled or expired.
    pub state: &'static str,
    pub created_by: String,
    pub created_at: Time,
    pub expires_at: Time,
    pub accepted_at: Option<Time>,
    pub canceled_at: Option<Time>,
}

impl TransferView {
    pub fn new(transfer: Transfer, now: Timestamp) -> Self {
        let state = match (transfer.accepted_at, transfer.canceled_at) {
            (Some(_), _) => "accepted",
            (None, Some(_)) => "canceled",
            (None, None) if transfer.expires_at <= now => "expired",
            (None, None) => "open",
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
}

impl ReceivedDeviceView {
    pub fn new(received: Received) -> Self {
        let token = received.token;
        Self {
            device: token.device.to_string(),
            from_tenant: received.from_tenant.to_string(),
            enroll_token: NewEnrollTokenView {
                id: token.id.to_string(),
                device: token.device.to_string(),
                token: token.token,
                expires_at: Time(token.expires_at),
            },
        }
    }
}
