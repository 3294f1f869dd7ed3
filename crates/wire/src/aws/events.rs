//! What AWS publishes of jobs and commands below `$aws/events/`, for clients that watch over a fleet.
//!
//! ```text
//! $aws/events/job/{job}/{completed|canceled|deleted|cancellation_in_progress|deletion_in_progress}
//! $aws/events/jobExecution/{job}/{succeeded|failed|rejected|canceled|removed|timed_out|deleted}
//! $aws/events/commandExecution/{command}/{CREATED|IN_PROGRESS|SUCCEEDED|FAILED|REJECTED|TIMED_OUT}
//! ```
//! Bodies are as its developer guide shows them ("Jobs events", "Command execution events"). What AWS calls an account is a
//! number that stands for the tenant, and all names are of one region, since there are none here.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest;
use fleetward_base::TenantId;
use serde::{Deserialize, Serialize};

/// What every topic of events begins with.
pub const PREFIX: &str = "$aws/events/";
const REGION: &str = "local";

/// `$aws/events/job/...`. Times of the job are in milliseconds, that of the event in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobEvent {
    pub event_type: String,
    pub event_id: String,
    pub timestamp: i64,
    pub operation: String,
    pub job_id: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_selection: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Of one that is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_process_details: Option<JobProcessDetails>,
}

/// How the devices of a job ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobProcessDetails {
    pub number_of_canceled_things: u64,
    pub number_of_rejected_things: u64,
    pub number_of_failed_things: u64,
    pub number_of_removed_things: u64,
    pub number_of_succeeded_things: u64,
    pub number_of_timed_out_things: u64,
}

/// `$aws/events/jobExecution/...`. The time is in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobExecutionEvent {
    pub event_type: String,
    pub event_id: String,
    pub timestamp: i64,
    pub operation: String,
    pub job_id: String,
    pub thing_arn: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub status_details: BTreeMap<String, String>,
}

/// `$aws/events/commandExecution/...`. The time is in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandExecutionEvent {
    pub execution_id: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    pub event_type: String,
    pub command_arn: String,
    pub target_arn: String,
    pub timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReason {
    pub reason_code: String,
    pub reason_description: String,
}

/// The topic of an event; `kind` is `job`, `jobExecution` or `commandExecution`.
pub fn topic(kind: &str, id: &str, status: &str) -> String {
    format!("{PREFIX}{kind}/{id}/{status}")
}

/// Twelve digits that stand for the tenant.
pub fn account(tenant: &TenantId) -> String {
    let hash = digest::digest(&digest::SHA256, format!("aws-account/{tenant}").as_bytes());
    let number = hash.as_ref().iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{:012}", number % 1_000_000_000_000)
}

/// AWS's name for something of a tenant.
pub fn arn(tenant: &TenantId, kind: &str, name: &str) -> String {
    format!("arn:aws:iot:{REGION}:{}:{kind}/{name}", account(tenant))
}

/// An id in the form of a UUID, the same each time, also where another server tells of the same.
pub fn event_id(tenant: &TenantId, place: i64) -> String {
    let hash = digest::digest(&digest::SHA256, format!("event/{tenant}/{place}").as_bytes());
    let mut id = String::new();
    for (at, byte) in hash.as_ref().iter().take(16).enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        write!(id, "{byte:02x}").expect("a string takes it");
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_aws_shows_them() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let event = JobExecutionEvent {
            event_type: "JOB_EXECUTION".into(),
            event_id: event_id(&tenant, 7),
            timestamp: 1_234_567_890,
            operation: "succeeded".into(),
            job_id: "reboot".into(),
            thing_arn: arn(&tenant, "thing", "gw-1"),
            status: "SUCCEEDED".into(),
            status_details: BTreeMap::from([("step".into(), "1".into())]),
        };
        let account = account(&tenant);
        assert!(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()));
        let id = event_id(&tenant, 7);
        assert!(id.len() == 36 && id != event_id(&tenant, 8) && id.split('-').count() == 5);
        let expected = serde_json::json!({
            "eventType": "JOB_EXECUTION", "eventId": id, "timestamp": 1_234_567_890, "operation": "succeeded",
            "jobId": "reboot", "thingArn": format!("arn:aws:iot:local:{account}:thing/gw-1"), "status": "SUCCEEDED",
            "statusDetails": {"step": "1"},
        });
        assert_eq!(serde_json::to_value(&event).expect("JSON"), expected);
        assert_eq!(serde_json::from_value::<JobExecutionEvent>(expected).expect("own output"), event);
        assert_eq!(topic("jobExecution", "reboot", "succeeded"), "$aws/events/jobExecution/reboot/succeeded");
        let details = serde_json::to_value(JobProcessDetails::default()).expect("JSON");
        assert_eq!(details["numberOfTimedOutThings"], 0);
    }
}
