//! One command for one device: what it may become, by whose word, and when (requirement S5).
//!
//! ```text
//! queued -> sent -> running -> succeeded | failed | rejected | timed_out
//!    |        |                (the device's word)
//!    |        +----------------> timed_out      (the server's word: the device may still answer)
//!    +-> expired | canceled | superseded        (it has not reached the device)
//! ```
//! A command is delivered at least once while it has not expired, and never after; that it runs once is the affair of the
//! device's own journal. What the server cannot know it does not say: one that may have reached the device does not expire,
//! is not superseded, and is canceled only by force. What the payload means is the device's affair. What is sent when is in
//! [`plan`].

mod plan;

use std::time::Duration;

use fleetward_base::{CommandId, DeviceId, Timestamp, limits};

use crate::text::{check_note, text_enum};

pub use plan::{Contact, NOT_HEARD, Planned, due, plan};

text_enum! {
    /// Where a command stands.
    pub enum Status("command status") {
        Queued => "queued",
        /// On its way; the device has not said anything.
        Sent => "sent",
        /// The device works on it.
        Running => "running",
        Succeeded => "succeeded",
        Failed => "failed",
        /// The device would not do it.
        Rejected => "rejected",
        /// Said by the device it is an end; by the server it is not: the device may answer late.
        TimedOut => "timed_out",
        /// Its time was over before it reached the device.
        Expired => "expired",
        Canceled => "canceled",
        /// Another of the same operation and key took its place before it was sent.
        Superseded => "superseded",
    }
}

impl Status {
    /// It waits, or the device is at it.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Sent | Self::Running)
    }

    /// It holds its lane.
    pub const fn is_in_flight(self) -> bool {
        matches!(self, Self::Sent | Self::Running)
    }

    /// One that a device may say.
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Running | Self::Succeeded | Self::Failed | Self::Rejected | Self::TimedOut)
    }
}

text_enum! {
    /// What becomes of those behind it in its lane when a command expires.
    pub enum OnExpiry("rule on expiry") {
        /// They are sent in their turn.
        Continue => "continue",
        /// They are canceled, since they make no sense without it.
        CancelLane => "cancel_lane",
    }
}

/// The lane of a command that names none.
pub const DEFAULT_LANE: &str = "default";

/// One command for one device, without its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub id: CommandId,
    pub device: DeviceId,
    /// Its place among all commands of the device.
    pub seq: u64,
    /// What is to be done, in a word that the device knows.
    pub op: String,
    pub content_type: String,
    /// One after the other within a lane; lanes do not wait for each other.
    pub lane: String,
    /// One that waits is superseded by the next of the same operation and key.
    pub dedupe: Option<String>,
    pub not_before: Option<Timestamp>,
    pub expires_at: Timestamp,
    /// From being sent to the device's first word.
    pub ack_timeout: Duration,
    /// From the device's first word to its last.
    pub run_timeout: Duration,
    pub max_attempts: u32,
    pub on_expiry: OnExpiry,
    pub status: Status,
    /// How often it was sent.
    pub attempts: u32,
    pub reason: Option<Reason>,
    /// What came of it, as JSON in the form of the AWS contract.
    pub result: Option<String>,
    /// Begins at 1 and grows by one with every change.
    pub version: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    /// Set when nothing can follow.
    pub finished_at: Option<Timestamp>,
}

/// Why it stands as it does, in the words of whoever said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Machine-readable: `A-Z`, digits, `_` and `-`.
    pub code: String,
    pub text: Option<String>,
}

impl Command {
    /// It has never been on its way to the device.
    pub fn is_untouched(&self) -> bool {
        self.status == Status::Queued && self.attempts == 0
    }

    pub fn is_terminal(&self) -> bool {
        self.finished_at.is_some()
    }

    /// The next version of it.
    fn becomes(&self, status: Status, now: Timestamp) -> Self {
        let finished = !status.is_open();
        Self {
            status,
            version: self.version.saturating_add(1),
            updated_at: now,
            finished_at: finished.then_some(now),
            ..self.clone()
        }
    }

    /// The server gives up on it; the device's own word still counts.
    fn gives_up(&self, code: &str, now: Timestamp) -> Self {
        let reason = Some(Reason { code: code.to_owned(), text: None });
        Self { reason, finished_at: None, ..self.becomes(Status::TimedOut, now) }
    }
}

/// What a device says of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: Status,
    pub reason: Option<Reason>,
    pub result: Option<String>,
    /// The version that the device believes to change; `None` means whichever it is.
    pub expected_version: Option<u64>,
}

/// Why a word on a command does nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("expected version {expected}, found {found}")]
    VersionMismatch { expected: u64, found: u64 },
    #[error("a command that is {from} cannot become {to}")]
    InvalidTransition { from: Status, to: Status },
    #[error("the command is {0} and stays so")]
    Terminal(Status),
    #[error("the command is {0} and may have reached the device; it can only be canceled by force")]
    InFlight(Status),
    #[error(
        "a reason has a code of 1 to {} letters A-Z, digits, _ and -, and a text of {} bytes at most without control characters",
        limits::COMMAND_REASON_CODE_BYTES,
        limits::COMMAND_REASON_BYTES
    )]
    BadReason,
    #[error("the result is longer than {} bytes", limits::COMMAND_RESULT_BYTES)]
    LongResult,
}

/// What an answer did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and taken apart at once")]
pub enum Applied {
    Changed(Command),
    /// The same answer came before.
    Repeated,
}

/// What `answer` makes of `command`.
///
/// # Errors
/// [`Refused`]; the command stays as it is.
pub fn apply(command: &Command, answer: &Answer, now: Timestamp) -> Result<Applied, Refused> {
    check_answer(answer)?;
    let (from, to) = (command.status, answer.status);
    if !to.is_answer() {
        return Err(Refused::InvalidTransition { from, to });
    }
    let same = from == to && answer.reason == command.reason && answer.result == command.result;
    match answer.expected_version {
        Some(expected) if expected == command.version => {}
        Some(expected) if same && expected.checked_add(1) == Some(command.version) => return Ok(Applied::Repeated),
        Some(expected) => return Err(Refused::VersionMismatch { expected, found: command.version }),
        None => {}
    }
    if command.is_terminal() {
        return if same { Ok(Applied::Repeated) } else { Err(Refused::Terminal(from)) };
    }
    // What never left cannot be answered; and what the server gave up on does not take its lane back.
    if command.is_untouched() || (from == Status::TimedOut && to == Status::Running) {
        return Err(Refused::InvalidTransition { from, to });
    }
    if same && from == Status::Running {
        return Ok(Applied::Repeated);
    }
    let mut next = command.becomes(to, now);
    next.started_at = next.started_at.or(Some(now));
    next.reason.clone_from(&answer.reason);
    if answer.result.is_some() {
        next.result.clone_from(&answer.result);
    }
    Ok(Applied::Changed(next))
}

/// Takes a command back. `None` where it is canceled already.
///
/// # Errors
/// [`Refused::InFlight`] where the device may have it and `force` is not given; [`Refused::Terminal`].
pub fn cancel(command: &Command, force: bool, now: Timestamp) -> Result<Option<Command>, Refused> {
    match command.status {
        Status::Canceled => Ok(None),
        status if command.is_terminal() => Err(Refused::Terminal(status)),
        status if !force && !command.is_untouched() => Err(Refused::InFlight(status)),
        _ => Ok(Some(command.becomes(Status::Canceled, now))),
    }
}

/// `older` once `newer` is queued, where that takes its place: it waits, and means the same.
pub fn supersede(older: &Command, newer: &Command, now: Timestamp) -> Option<Command> {
    let same = older.op == newer.op && older.dedupe.is_some() && older.dedupe == newer.dedupe;
    (same && older.id != newer.id && older.is_untouched()).then(|| {
        let reason = Some(Reason { code: "SUPERSEDED".to_owned(), text: Some(format!("by {}", newer.id)) });
        Command { reason, ..older.becomes(Status::Superseded, now) }
    })
}

/// Whether a text can name an operation, a lane, or what is superseded.
pub fn is_name(text: &str) -> bool {
    (1..=limits::COMMAND_NAME_BYTES).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether a text can be a media type: `application/json; charset=utf-8`.
pub fn is_content_type(text: &str) -> bool {
    let visible = |b: u8| b.is_ascii_graphic() || b == b' ';
    text.len() <= limits::COMMAND_CONTENT_TYPE_BYTES
        && text.bytes().all(visible)
        && text.split_once('/').is_some_and(|(kind, rest)| !kind.trim().is_empty() && !rest.trim().is_empty())
}

fn check_answer(answer: &Answer) -> Result<(), Refused> {
    if let Some(reason) = &answer.reason {
        let letters = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        let code = (1..=limits::COMMAND_REASON_CODE_BYTES).contains(&reason.code.len());
        let text = reason.text.as_ref().is_none_or(|text| check_note(text, limits::COMMAND_REASON_BYTES).is_ok());
        if !(code && text && reason.code.bytes().all(letters)) {
            return Err(Refused::BadReason);
        }
    }
    if answer.result.as_ref().is_some_and(|result| result.len() > limits::COMMAND_RESULT_BYTES) {
        return Err(Refused::LongResult);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
