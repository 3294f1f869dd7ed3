//! Bodies of the jobs service, device side.
//!
//! The same types serve the service and the device. What the service reads goes through [`Request::parse`], which tells
//! text that is no JSON from JSON that is no request, and takes `expectedVersion` as a number or as a string, since
//! embedded clients send both.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// Details of an execution: what the device says of it, key by key.
pub type StatusDetails = BTreeMap<String, String>;

/// Where an execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    Queued,
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
    Rejected,
    Removed,
    Canceled,
}

/// A request that the service reads. An empty payload is an empty request where nothing is required.
pub trait Request: for<'de> Deserialize<'de> {
    /// What is wrong with a payload that is none.
    fn parse(payload: &[u8]) -> Result<Self, RejectCode> {
        let payload = if payload.is_empty() { b"{}" } else { payload };
        let value: Value = serde_json::from_slice(payload).map_err(|_| RejectCode::InvalidJson)?;
        serde_json::from_value(value).map_err(|_| RejectCode::InvalidRequest)
    }
}

/// `jobs/get`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GetRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `jobs/start-next`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartNextRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_timeout_in_minutes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `jobs/{id}/get`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DescribeRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_number: Option<i64>,
    /// Absent means yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_job_document: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `jobs/{id}/update`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateRequest {
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    #[serde(default, deserialize_with = "number_or_text", skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_number: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_execution_state: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_job_document: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_timeout_in_minutes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

impl Request for GetRequest {}
impl Request for StartNextRequest {}
impl Request for DescribeRequest {}
impl Request for UpdateRequest {}

/// An execution in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub job_id: String,
    pub queued_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    pub last_updated_at: i64,
    pub version_number: u64,
    pub execution_number: i64,
}

/// An execution in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    pub job_id: String,
    /// Absent from `notify-next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_name: Option<String>,
    /// An object on MQTT, a text on HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_document: Option<Value>,
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    pub queued_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    pub last_updated_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approximate_seconds_before_timed_out: Option<i64>,
    pub version_number: u64,
    pub execution_number: i64,
}

/// `jobs/get/accepted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetAccepted {
    pub in_progress_jobs: Vec<Summary>,
    pub queued_jobs: Vec<Summary>,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `jobs/start-next/accepted` and `jobs/{id}/get/accepted`, and without a token `jobs/notify-next`. No execution means that
/// nothing is pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionAccepted {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<Execution>,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// How an execution stands, in the answer to an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionState {
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_details: Option<StatusDetails>,
    pub version_number: u64,
}

/// `jobs/{id}/update/accepted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateAccepted {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<ExecutionState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_document: Option<Value>,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `.../rejected` of any request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub code: RejectCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<ExecutionState>,
}

/// Why a request was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectCode {
    InvalidTopic,
    InvalidJson,
    InvalidRequest,
    InvalidStateTransition,
    ResourceNotFound,
    VersionMismatch,
    InternalError,
    RequestThrottled,
    TerminalStateReached,
}

/// `jobs/notify`: what is pending, by status; empty where nothing is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notify {
    pub timestamp: i64,
    pub jobs: Pending,
}

/// Pending executions by status.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub struct Pending {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_progress: Vec<Summary>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queued: Vec<Summary>,
}

fn number_or_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }
    match Option::<Either>::deserialize(from)? {
        None => Ok(None),
        Some(Either::Number(number)) => Ok(Some(number)),
        Some(Either::Text(text)) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn update(payload: &str) -> Result<Option<u64>, RejectCode> {
        UpdateRequest::parse(payload.as_bytes()).map(|request| request.expected_version)
    }

    #[test]
    fn updates() {
        assert_eq!(update(r#"{"status":"SUCCEEDED"}"#), Ok(None));
        assert_eq!(update(r#"{"status":"SUCCEEDED","expectedVersion":2}"#), Ok(Some(2)));
        assert_eq!(update(r#"{"status":"IN_PROGRESS","expectedVersion":"2"}"#), Ok(Some(2)));
        assert_eq!(update(r#"{"status":"FAILED","expectedVersion":null,"unknown":{}}"#), Ok(None));
        assert_eq!(update(r#"{"status":"FAILED","expectedVersion":"x"}"#), Err(RejectCode::InvalidRequest));
        assert_eq!(update(r#"{"status":"FAILED","expectedVersion":-1}"#), Err(RejectCode::InvalidRequest));
        assert_eq!(update(r#"{"status":"DONE"}"#), Err(RejectCode::InvalidRequest));
        assert_eq!(update(r#"{"status":"FAILED","statusDetails":{"a":1}}"#), Err(RejectCode::InvalidRequest));
        assert_eq!(update("{}"), Err(RejectCode::InvalidRequest));
        assert_eq!(update(""), Err(RejectCode::InvalidRequest));
        assert_eq!(update("{"), Err(RejectCode::InvalidJson));
        assert_eq!(update("[]"), Err(RejectCode::InvalidRequest));
    }

    #[test]
    fn where_nothing_is_required_nothing_need_be_sent() {
        assert_eq!(GetRequest::parse(b""), Ok(GetRequest::default()));
        assert_eq!(StartNextRequest::parse(b"{}"), Ok(StartNextRequest::default()));
        assert_eq!(DescribeRequest::parse(b"x"), Err(RejectCode::InvalidJson));
    }

    #[test]
    fn empty_notifications_are_as_the_contract_has_them() {
        let text = |value| serde_json::to_string(&value).expect("JSON");
        assert_eq!(text(Notify { timestamp: 5, jobs: Pending::default() }), r#"{"timestamp":5,"jobs":{}}"#);
        let next = ExecutionAccepted { execution: None, timestamp: 5, client_token: None };
        assert_eq!(serde_json::to_string(&next).expect("JSON"), r#"{"timestamp":5}"#);
        assert_eq!(serde_json::to_string(&RejectCode::VersionMismatch).expect("JSON"), r#""VersionMismatch""#);
    }

    proptest! {
        #[test]
        fn parsing_inverts_formatting(job_id in "[a-z0-9-]{1,36}", times: [i64; 2], version_number: u64,
                                      details in prop::option::of(prop::collection::btree_map("[a-z]{1,4}", ".{0,8}", 0..4))) {
            let execution = Execution {
                job_id, thing_name: Some("gw-1".into()), job_document: Some(serde_json::json!({"operation": "update"})),
                status: Status::InProgress, status_details: details, queued_at: times[0], started_at: Some(times[1]),
                last_updated_at: times[1], approximate_seconds_before_timed_out: None, version_number, execution_number: 1,
            };
            let body = ExecutionAccepted { execution: Some(execution), timestamp: times[0], client_token: Some("t".into()) };
            let bytes = serde_json::to_vec(&body).expect("JSON");
            prop_assert_eq!(serde_json::from_slice::<ExecutionAccepted>(&bytes).expect("own output"), body);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop((UpdateRequest::parse(&bytes), StartNextRequest::parse(&bytes), crate::aws::client_token(&bytes)));
        }
    }
}
