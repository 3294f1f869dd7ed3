//! What becomes of a device's open commands now: whose time is over, and which are sent.
//!
//! Within a lane at most one is under way, and its successor waits for its end, also where it waits for its hour; lanes do not
//! wait for each other. Nothing is sent whose time is over. A contact that is new, such as a connection or a poll, sends again
//! what was sent on the one before and not answered: the database says what the device is to do, and no queue of a broker.
//! What the device would not hear, since it listens to payloads of another format, waits and says so ([`NOT_HEARD`]).

use std::collections::BTreeSet;

use fleetward_base::{Timestamp, limits};

use super::{Command, OnExpiry, Reason, Status};

/// Whether the device can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It is not connected, or does not listen.
    None,
    /// It has been since then: what was sent before may be lost, what was sent after has arrived or will.
    Since(Timestamp),
}

/// Why a command waits that could be sent: the device listens, and not to payloads of this media type.
pub const NOT_HEARD: &str = "NOT_HEARD";

/// A command that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// As it is now; one version on.
    pub command: Command,
    /// It is to go to the device.
    pub send: bool,
}

/// What becomes of the open commands of one device, which come in the order of `seq`. The order of what is to be sent is the
/// order of the result. `hears` says whether the device listens to payloads of a media type.
pub fn plan(open: &[Command], now: Timestamp, contact: Contact, hears: &dyn Fn(&str) -> bool) -> Vec<Planned> {
    let mut work: Vec<Planned> =
        open.iter().map(|command| Planned { command: at(command, now), send: false }).collect();
    cancel_behind(&mut work, now);
    if let Contact::Since(since) = contact {
        send_again(&mut work, now, since, hears);
        send_next(&mut work, now, hears);
    }
    let changed = work.into_iter().zip(open).filter(|(planned, before)| planned.command != **before);
    // However many steps it took, it is one change.
    changed
        .map(|(planned, before)| {
            let version = before.version.saturating_add(1);
            Planned { command: Command { version, ..planned.command }, ..planned }
        })
        .collect()
}

/// When to look at a command again if nothing is heard of it.
pub fn due(command: &Command, now: Timestamp) -> Option<Timestamp> {
    match command.status {
        Status::Queued => {
            let hour = command.not_before.filter(|hour| *hour > now).unwrap_or(command.expires_at);
            Some(hour.min(command.expires_at))
        }
        Status::Sent => Some(acknowledged_by(command).min(command.expires_at)),
        Status::Running => Some(ended_by(command)),
        _ => None,
    }
}

fn acknowledged_by(command: &Command) -> Timestamp {
    command.sent_at.unwrap_or(command.updated_at).plus(command.ack_timeout)
}

fn ended_by(command: &Command) -> Timestamp {
    command.started_at.unwrap_or(command.updated_at).plus(command.run_timeout)
}

/// The command once its timers have been looked at.
fn at(command: &Command, now: Timestamp) -> Command {
    let over = now >= command.expires_at;
    match command.status {
        Status::Queued if over && command.attempts == 0 => command.becomes(Status::Expired, now),
        Status::Queued | Status::Sent if over => command.gives_up("NOT_ANSWERED", now),
        Status::Sent if now >= acknowledged_by(command) => {
            if command.attempts >= command.max_attempts {
                command.gives_up("NOT_ANSWERED", now)
            } else {
                command.becomes(Status::Queued, now)
            }
        }
        Status::Running if now >= ended_by(command) => command.gives_up("NOT_ENDED", now),
        _ => command.clone(),
    }
}

/// Those behind one that expired, where they make no sense without it.
fn cancel_behind(work: &mut [Planned], now: Timestamp) {
    let mut broken: BTreeSet<String> = BTreeSet::new();
    for Planned { command, .. } in work {
        if command.status == Status::Expired && command.on_expiry == OnExpiry::CancelLane {
            broken.insert(command.lane.clone());
        } else if command.is_untouched() && broken.contains(&command.lane) {
            let reason = Some(Reason { code: "LANE_BROKEN".to_owned(), text: None });
            *command = Command { reason, ..command.becomes(Status::Canceled, now) };
        }
    }
}

fn send_again(work: &mut [Planned], now: Timestamp, since: Timestamp, hears: &dyn Fn(&str) -> bool) {
    for planned in work {
        let command = &planned.command;
        let lost = command.status == Status::Sent && command.sent_at.is_none_or(|sent| sent < since);
        if lost && command.attempts < command.max_attempts && hears(&command.content_type) {
            *planned = sent(command, now);
        }
    }
}

fn send_next(work: &mut [Planned], now: Timestamp, hears: &dyn Fn(&str) -> bool) {
    let in_flight = |planned: &&Planned| planned.command.status.is_in_flight();
    let mut busy: BTreeSet<String> = work.iter().filter(in_flight).map(|it| it.command.lane.clone()).collect();
    let mut under_way = work.iter().filter(in_flight).count();
    for planned in work {
        let command = &planned.command;
        if command.status != Status::Queued || !busy.insert(command.lane.clone()) {
            continue;
        }
        // The head of its lane holds it, whether its hour has come or not.
        if command.not_before.is_some_and(|hour| hour > now) || under_way >= limits::COMMANDS_IN_FLIGHT {
            continue;
        }
        if !hears(&command.content_type) {
            not_heard(&mut planned.command, now);
            continue;
        }
        *planned = sent(command, now);
        under_way += 1;
    }
}

fn sent(command: &Command, now: Timestamp) -> Planned {
    let attempts = command.attempts.saturating_add(1);
    let command = Command { attempts, sent_at: Some(now), reason: None, ..command.becomes(Status::Sent, now) };
    Planned { command, send: true }
}

/// It waits as before, and says once why.
fn not_heard(command: &mut Command, now: Timestamp) {
    if command.reason.is_none() {
        let text = format!("the device listens, and not to {}", command.content_type);
        let reason = Some(Reason { code: NOT_HEARD.to_owned(), text: Some(text) });
        *command = Command { reason, ..command.becomes(Status::Queued, now) };
    }
}
