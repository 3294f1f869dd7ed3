//! Bodies of the provisioning messages.
//!
//! Requests are read tolerantly: what a newer client says besides is passed over. Answers have what clients look at
//! (`status`, `registrationState`, `operationId`), and errors are told by number, sentence and a tracking id.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest body that is read.
pub const BODY_BYTES: usize = 32 * 1024;

/// `PUT register`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegisterRequest {
    pub registration_id: Option<String>,
    /// What the device says of itself, for whoever allocates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Evidence of a TPM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpm: Option<Value>,
    /// A request for a certificate, PKCS#10 as base64 of its DER (api-version 2025-07-01-preview).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
    /// The same in PEM (api-version 2021-11-01-preview), which is answered in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_csr: Option<String>,
}

impl RegisterRequest {
    /// None where it is not such a body. Nothing at all, or a blank, says nothing of the device.
    pub fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > BODY_BYTES {
            return None;
        }
        match body.trim_ascii().first() {
            None => Some(Self::default()),
            // A list would be read as the fields in their order.
            Some(b'{') => serde_json::from_slice(body).ok(),
            Some(_) => None,
        }
    }
}

/// The answer to both requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    pub operation_id: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub registration_state: Option<RegistrationState>,
}

/// What came of a registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistrationState {
    pub registration_id: String,
    /// RFC 3339, as `lastUpdatedDateTimeUtc`.
    pub created_date_time_utc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_hub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substatus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    pub last_updated_date_time_utc: String,
    pub etag: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// Leaf first, each as base64 of its DER: the answer to `csr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_certificate_chain: Option<Vec<String>>,
    /// In PEM: the answer to `clientCertificateCsr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_client_certificate: Option<String>,
}

/// What was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// The HTTP status and three more digits.
    pub error_code: u32,
    pub tracking_id: String,
    pub message: String,
    pub timestamp_utc: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_of_the_clients_there_are() {
        let python = RegisterRequest::parse(br#"{"payload": null, "registrationId": "gw-1"}"#).expect("a body");
        assert_eq!(python, RegisterRequest { registration_id: Some("gw-1".into()), ..RegisterRequest::default() });
        let newer = br#"{"registrationId":"gw-1","csr":"MII=","payload":{"a":1},"x":[]}"#;
        let newer = RegisterRequest::parse(newer).expect("a body");
        assert_eq!((newer.csr.as_deref(), newer.payload), (Some("MII="), Some(json!({"a": 1}))));
        assert_eq!(RegisterRequest::parse(b" "), Some(RegisterRequest::default()));
        for bad in [&b"[]"[..], b"{", br#"{"registrationId":1}"#, &[b' '; BODY_BYTES + 1]] {
            assert_eq!(RegisterRequest::parse(bad), None);
        }
    }

    #[test]
    fn an_answer_says_what_clients_look_at() {
        let answer = OperationStatus {
            operation_id: "4.x".into(),
            status: "assigned".into(),
            registration_state: Some(RegistrationState {
                registration_id: "gw-1".into(),
                assigned_hub: Some("fleet.example".into()),
                device_id: Some("gw-1".into()),
                status: "assigned".into(),
                ..RegistrationState::default()
            }),
        };
        let text = serde_json::to_value(&answer).expect("JSON");
        assert_eq!(text["registrationState"]["assignedHub"], "fleet.example");
        assert!(text["registrationState"].get("errorCode").is_none());
        assert_eq!(serde_json::from_value::<OperationStatus>(text).expect("its own text"), answer);
    }
}
