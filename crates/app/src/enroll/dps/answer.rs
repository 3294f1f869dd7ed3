//! Answers in Azure's shape, the same over HTTPS and MQTT: a status, a body, and when to ask again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_wire::azure::message::{ErrorBody, OperationStatus, RegistrationState};

use super::{ASSIGNED, Registration};
use crate::App;
use crate::error::Error;

/// After how many seconds a device asks what became of its operation.
const RETRY_AFTER_S: u64 = 3;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub retry_after_s: Option<u64>,
}

impl Answer {
    fn of(status: u16, body: &impl serde::Serialize, retry_after_s: Option<u64>) -> Self {
        // Every body here has text keys and whole numbers.
        Self { status, body: serde_json::to_vec(body).unwrap_or_default(), retry_after_s }
    }

    /// To a request to register: the device is to ask after the operation, whatever came of it.
    pub fn accepted(registration: &Registration) -> Self {
        let body = OperationStatus {
            operation_id: registration.row.operation.clone(),
            status: "assigning".to_owned(),
            registration_state: None,
        };
        Self::of(202, &body, Some(RETRY_AFTER_S))
    }

    /// To the question after an operation.
    pub fn operation(registration: Registration) -> Self {
        let waits = registration.row.status != ASSIGNED;
        let body = OperationStatus {
            operation_id: registration.row.operation.clone(),
            status: registration.row.status.clone(),
            registration_state: Some(state(registration)),
        };
        if waits { Self::of(202, &body, Some(RETRY_AFTER_S)) } else { Self::of(200, &body, None) }
    }

    /// To the question after the registration itself.
    pub fn registration(registration: Registration) -> Self {
        Self::of(200, &state(registration), None)
    }

    /// What was wrong, by its meaning.
    pub fn error(app: &App, error: &Error) -> Self {
        let (status, more) = match error {
            Error::Invalid { .. } | Error::Untrusted { .. } | Error::Stale { .. } => (400, 4),
            Error::Unauthenticated { .. } => (401, 2),
            Error::Denied { .. } | Error::Conflict { .. } => (403, 3),
            Error::NotFound { .. } => (404, 201),
            Error::TooLarge { .. } => (413, 1),
            Error::TooMany { .. } => (429, 1),
            Error::Pending { .. } => (429, 2),
            Error::Internal(cause) => {
                tracing::error!(%cause, "a device could not be registered");
                (500, 1)
            }
            Error::StorageFull | Error::Unavailable { .. } => (503, 1),
        };
        let message = match error {
            // Which of the credentials was wrong is nobody's business but the journal's.
            Error::Unauthenticated { .. } => "Unauthorized".to_owned(),
            error => error.to_string(),
        };
        let retry = match error {
            Error::TooMany { retry_after, .. } | Error::Pending { retry_after } => Some(retry_after.as_secs().max(1)),
            Error::StorageFull | Error::Unavailable { .. } => Some(10),
            _ => None,
        };
        Self::plain(app, status, more, message, retry)
    }

    /// Something that no use case was asked about.
    pub fn plain(app: &App, status: u16, more: u32, message: impl Into<String>, retry_after_s: Option<u64>) -> Self {
        let body = ErrorBody {
            error_code: u32::from(status) * 1000 + more,
            tracking_id: app.new_request_id().to_string(),
            message: message.into(),
            timestamp_utc: app.now().to_string(),
        };
        Self::of(status, &body, retry_after_s)
    }
}

fn state(registration: Registration) -> RegistrationState {
    let Registration { row, assigned_hub, chain } = registration;
    let assigned = row.status == ASSIGNED;
    let encoded: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
    RegistrationState {
        registration_id: row.id.to_string(),
        created_date_time_utc: row.created_at.to_string(),
        assigned_hub: assigned.then_some(assigned_hub),
        device_id: assigned.then(|| row.id.to_string()),
        substatus: assigned.then(|| "initialAssignment".to_owned()),
        last_updated_date_time_utc: row.updated_at.to_string(),
        etag: row.revision.to_string(),
        payload: row.payload.and_then(|text| serde_json::from_str(&text).ok()),
        issued_client_certificate: encoded.first().map(|leaf| pem(leaf)),
        issued_certificate_chain: (!encoded.is_empty()).then_some(encoded),
        status: row.status,
        error_code: None,
        error_message: None,
    }
}

fn pem(encoded: &str) -> String {
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = encoded;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + "-----END CERTIFICATE-----\n"
}
