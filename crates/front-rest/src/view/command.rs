//! Commands.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::commands::{CommandSummary, CommandView as Whole};
use fleetward_core::command::Command;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Time;

/// A command for one device.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Command)]
pub struct CommandView {
    pub id: String,
    pub device: String,
    pub op: String,
    /// queued, sent, running, succeeded, failed, rejected, timed_out, expired, canceled or superseded.
    pub status: &'static str,
    /// Nothing can follow. What the server timed out itself is not at its end: the device may answer late.
    pub ended: bool,
    /// Why, in the words of whoever said so.
    pub reason: Option<ReasonView>,
    /// What came of it: names with `{"s": text}`, `{"b": truth}` or `{"bin": base64}`.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    pub lane: String,
    pub dedupe: Option<String>,
    pub not_before: Option<Time>,
    pub expires_at: Time,
    pub ack_timeout_s: u64,
    pub run_timeout_s: u64,
    pub max_attempts: u32,
    /// continue or cancel_lane.
    pub on_expiry: &'static str,
    /// How often it was sent.
    pub attempts: u32,
    pub version: u64,
    pub content_type: String,
    /// Absent where only one command is not what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_bytes: Option<u64>,
    /// What it carries, where that is JSON and one command was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub payload: Option<Value>,
    /// The same where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    pub created_by: String,
    pub created_at: Time,
    pub sent_at: Option<Time>,
    pub started_at: Option<Time>,
    pub updated_at: Time,
    pub finished_at: Option<Time>,
}

/// Why a command stands as it does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CommandReason)]
pub struct ReasonView {
    pub code: String,
    pub text: Option<String>,
}

impl From<Command> for CommandView {
    fn from(command: Command) -> Self {
        Self {
            ended: command.is_terminal(),
            id: command.id.to_string(),
            device: command.device.to_string(),
            op: command.op,
            status: command.status.as_str(),
            reason: command.reason.map(|reason| ReasonView { code: reason.code, text: reason.text }),
            // We wrote it ourselves.
            result: command.result.and_then(|result| serde_json::from_str(&result).ok()),
            lane: command.lane,
            dedupe: command.dedupe,
            not_before: command.not_before.map(Time),
            expires_at: Time(command.expires_at),
            ack_timeout_s: command.ack_timeout.as_secs(),
            run_timeout_s: command.run_timeout.as_secs(),
            max_attempts: command.max_attempts,
            on_expiry: command.on_expiry.as_str(),
            attempts: command.attempts,
            version: command.version,
            content_type: command.content_type,
            payload_bytes: None,
            payload: None,
            payload_base64: None,
            created_by: command.created_by,
            created_at: Time(command.created_at),
            sent_at: command.sent_at.map(Time),
            started_at: command.started_at.map(Time),
            updated_at: Time(command.updated_at),
            finished_at: command.finished_at.map(Time),
        }
    }
}

impl CommandView {
    pub fn of_summary(summary: CommandSummary) -> Self {
        Self { payload_bytes: Some(summary.payload_bytes), ..Self::from(summary.command) }
    }

    pub fn whole(found: Whole) -> Self {
        let Whole { command, payload } = found;
        let (json, base64) = carried(&command.content_type, &payload);
        Self { payload_bytes: Some(payload.len() as u64), payload: json, payload_base64: base64, ..Self::from(command) }
    }
}

/// A payload as JSON where it is such, else in base64; neither where it is empty.
pub fn carried(content_type: &str, payload: &[u8]) -> (Option<Value>, Option<String>) {
    if payload.is_empty() {
        return (None, None);
    }
    let json = content_type.starts_with("application/json").then(|| serde_json::from_slice(payload).ok()).flatten();
    let base64 = json.is_none().then(|| BASE64_STANDARD.encode(payload));
    (json, base64)
}
