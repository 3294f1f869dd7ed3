//! Between rows and commands.

use std::time::Duration;

use fleetward_base::Timestamp;
use fleetward_core::command::{Command, Reason};
use fleetward_store::CommandRow;

use super::CommandSummary;
use crate::error::{Error, Result};

pub(super) fn command_of(row: CommandRow) -> Result<Command> {
    Ok(Command {
        id: row.id,
        device: row.device,
        seq: row.seq,
        op: row.op,
        content_type: row.content_type,
        lane: row.lane,
        dedupe: row.dedupe,
        not_before: row.not_before,
        expires_at: row.expires_at,
        ack_timeout: Duration::from_millis(row.ack_timeout_ms),
        run_timeout: Duration::from_millis(row.run_timeout_ms),
        max_attempts: row.max_attempts,
        on_expiry: row.on_expiry.parse().map_err(Error::internal)?,
        status: row.status.parse().map_err(Error::internal)?,
        attempts: row.attempts,
        reason: row.reason_code.map(|code| Reason { code, text: row.reason_text }),
        result: row.result,
        version: row.version,
        created_by: row.created_by,
        created_at: row.created_at,
        sent_at: row.sent_at,
        started_at: row.started_at,
        updated_at: row.updated_at,
        finished_at: row.finished_at,
    })
}

pub(super) fn summary_of(row: CommandRow) -> Result<CommandSummary> {
    let payload_bytes = row.payload_bytes;
    Ok(CommandSummary { command: command_of(row)?, payload_bytes })
}

pub(super) fn row_of(command: &Command, payload_bytes: u64, due_at: Option<Timestamp>) -> CommandRow {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    CommandRow {
        device: command.device.clone(),
        id: command.id.clone(),
        seq: command.seq,
        op: command.op.clone(),
        content_type: command.content_type.clone(),
        payload_bytes,
        lane: command.lane.clone(),
        dedupe: command.dedupe.clone(),
        not_before: command.not_before,
        expires_at: command.expires_at,
        ack_timeout_ms: millis(command.ack_timeout),
        run_timeout_ms: millis(command.run_timeout),
        max_attempts: command.max_attempts,
        on_expiry: command.on_expiry.to_string(),
        status: command.status.to_string(),
        attempts: command.attempts,
        reason_code: command.reason.as_ref().map(|reason| reason.code.clone()),
        reason_text: command.reason.as_ref().and_then(|reason| reason.text.clone()),
        result: command.result.clone(),
        version: command.version,
        created_by: command.created_by.clone(),
        created_at: command.created_at,
        sent_at: command.sent_at,
        started_at: command.started_at,
        updated_at: command.updated_at,
        finished_at: command.finished_at,
        due_at,
    }
}
