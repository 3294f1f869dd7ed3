//! From the queue to the device: on every contact, and when a timer of a row says so.
//!
//! One transaction marks what is to be sent as sent; after its commit it is handed to the broker. What is lost in between is
//! sent again: on the next connection, or when the time for an answer is over.

use std::time::Duration;

use bytes::Bytes;
use fleetward_base::{DeviceId, RequestId, TenantId, Timestamp};
use fleetward_core::access::DeviceRights;
use fleetward_core::command::{self as rules, Command, Contact, Planned, Status, due, plan};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_store::{CommandRow, TenantTx};
use serde_json::json;

use super::rows;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::links::OutgoingCommand;
use crate::{App, Ctx, Principal};

/// For so long a command that could be sent waits for whichever server has its device.
const OTHERS: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Looks at the queue of a device on a contact, and sends what is to be sent. What fails is found by the reconciler.
pub async fn deliver(app: &App, tenant: &TenantId, device: &DeviceId) {
    if !app.links().is_some_and(|links| links.hears_commands(tenant, device)) {
        return;
    }
    if let Err(error) = look_after(app, tenant, device).await {
        tracing::warn!(%tenant, %device, %error, "the commands of a device could not be looked after");
    }
}

/// Moves the queue of a device on to now: what is over ends, and what can be sent goes. How many commands changed.
///
/// # Errors
/// Where the store does not answer.
pub async fn look_after(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<u64> {
    let (app_in, tenant, device) = (app.clone(), tenant.clone(), device.clone());
    // What was marked as sent is sent, whoever waits for it.
    app.see_through(async move { move_on_and_send(&app_in, &tenant, &device).await }).await
}

async fn move_on_and_send(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<u64> {
    let links = app.links().filter(|links| links.hears_commands(tenant, device));
    let contact = match links {
        Some(_) => Contact::Since(app.presence().of(tenant, device).connected_at.unwrap_or(Timestamp::EPOCH)),
        None => Contact::None,
    };
    let (app_in, whose) = (app.clone(), (tenant.clone(), device.clone()));
    let hears = move |media: &str| app_in.links().is_some_and(|links| links.hears_media(&whose.0, &whose.1, media));
    let (changed, outgoing) = move_on(app, tenant, device, contact, hears).await?;
    if let Some(links) = links {
        for command in outgoing {
            links.send_command(tenant, device, &command);
        }
    }
    Ok(changed)
}

/// What the device that asks is to do now. One that got an answer that was lost gets it again when its time for an answer is
/// over.
///
/// # Errors
/// `NotFound` for a device that is held back: it has no commands.
pub async fn poll(app: &App, ctx: &Ctx) -> Result<Vec<OutgoingCommand>> {
    let (tenant, device) = own(ctx)?;
    Ok(move_on(app, tenant, device, Contact::Since(Timestamp::EPOCH), |_| true).await?.1)
}

/// The device that speaks, if commands are for it.
pub(super) fn own(ctx: &Ctx) -> Result<(&TenantId, &DeviceId)> {
    match &ctx.principal {
        Principal::Device { rights: DeviceRights::Full, .. } => ctx.device(),
        Principal::Device { .. } => Err(super::NO_SUCH),
        _ => ctx.device(),
    }
}

async fn move_on(
    app: &App,
    tenant: &TenantId,
    device: &DeviceId,
    contact: Contact,
    hears: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Result<(u64, Vec<OutgoingCommand>)> {
    let (device, now) = (device.clone(), app.now());
    app.write(tenant, "look after commands", move |tx| {
        Box::pin(async move {
            let open = tx.open_commands(&device).await?;
            let commands = open.iter().cloned().map(rows::command_of).collect::<Result<Vec<_>>>()?;
            let planned = plan(&commands, now, contact, &hears);
            let (mut changed, mut outgoing) = (0, Vec::new());
            for (row, before) in open.iter().zip(&commands) {
                match planned.iter().find(|it| it.command.seq == before.seq) {
                    Some(Planned { command, send }) => {
                        keep(tx, Actor::system("commands"), None, before, command, now).await?;
                        changed += 1;
                        if *send {
                            outgoing.push(outgoing_of(tx, command, now).await?);
                        }
                    }
                    None => look_later(tx, row, before, contact, now).await?,
                }
            }
            Ok((changed, outgoing))
        })
    })
    .await
}

/// Says of a row that did not change when it is looked at next.
async fn look_later(
    tx: &mut TenantTx,
    row: &CommandRow,
    command: &Command,
    contact: Contact,
    now: Timestamp,
) -> Result<()> {
    if row.due_at.is_none_or(|due| due > now) {
        return Ok(());
    }
    let ready = command.not_before.unwrap_or(command.created_at).max(command.created_at);
    let others = contact == Contact::None && command.is_untouched() && now < ready.plus(OTHERS);
    let next = due(command, now);
    let due_at = if others { next.map(|next| next.min(now.plus(LOOK_AGAIN))) } else { next };
    tx.update_command(&CommandRow { due_at, ..row.clone() }, row.version).await?;
    Ok(())
}

async fn outgoing_of(tx: &mut TenantTx, command: &Command, now: Timestamp) -> Result<OutgoingCommand> {
    let payload = tx.command_payload(&command.device, &command.id).await?.ok_or(super::NO_SUCH)?;
    Ok(OutgoingCommand {
        id: command.id.clone(),
        op: command.op.clone(),
        content_type: command.content_type.clone(),
        lane: command.lane.clone(),
        attempt: command.attempts,
        version: command.version,
        payload: Bytes::from(payload),
        now,
        expires_at: command.expires_at,
        run_timeout: command.run_timeout,
    })
}

/// Keeps a command as it is now, with its journal row.
///
/// # Errors
/// `Conflict` (`command-changed`) where somebody else was quicker.
pub(super) async fn keep(
    tx: &mut TenantTx,
    actor: Actor,
    request: Option<RequestId>,
    before: &Command,
    after: &Command,
    now: Timestamp,
) -> Result<()> {
    let row = rows::row_of(after, 0, due(after, now));
    if !tx.update_command(&row, before.version).await? {
        return Err(Error::conflict("command-changed", "the command was changed meanwhile; try again"));
    }
    journal(tx, actor, request, Some(before), after, now).await
}

/// The journal's row of a step. It names the operation and never what was carried.
pub(super) async fn journal(
    tx: &mut TenantTx,
    actor: Actor,
    request: Option<RequestId>,
    before: Option<&Command>,
    after: &Command,
    now: Timestamp,
) -> Result<()> {
    let going = before.is_some_and(|before| before.status == Status::Running);
    let (action, severity) = match after.status {
        Status::Queued => (Action::CommandQueued, Severity::Info),
        Status::Sent => (Action::CommandSent, Severity::Info),
        Status::Running if going => (Action::CommandProgressed, Severity::Info),
        Status::Running => (Action::CommandStarted, Severity::Info),
        Status::Succeeded => (Action::CommandSucceeded, Severity::Info),
        Status::Failed => (Action::CommandFailed, Severity::Warning),
        Status::Rejected => (Action::CommandRejected, Severity::Warning),
        Status::TimedOut => (Action::CommandTimedOut, Severity::Warning),
        Status::Expired => (Action::CommandExpired, Severity::Warning),
        Status::Canceled => (Action::CommandCanceled, Severity::Info),
        Status::Superseded => (Action::CommandSuperseded, Severity::Info),
    };
    let detail = json!({
        "op": after.op,
        "lane": after.lane,
        "attempt": after.attempts,
        "version": after.version,
        "reason": after.reason.as_ref().map(|reason| reason.code.as_str()),
    });
    let entry = Entry::done(now, actor, action).request(request).device(&after.device).subject(&after.id);
    record(tx, &entry.severity(severity).detail(detail)).await?;
    Ok(())
}

/// A device that goes: nothing is sent to it any more.
pub(crate) async fn cancel_commands_of(tx: &mut TenantTx, device: &DeviceId, now: Timestamp) -> Result<()> {
    for row in tx.open_commands(device).await? {
        let before = rows::command_of(row)?;
        if let Ok(Some(after)) = rules::cancel(&before, true, now) {
            keep(tx, Actor::system("commands"), None, &before, &after, now).await?;
        }
    }
    Ok(())
}
