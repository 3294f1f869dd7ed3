//! Commands: something that a device is told to do, with an answer that is kept (requirement S5).
//!
//! ```text
//! send_command -> [deliver -> answer]... -> an end
//!                   ^ connect, subscribe, poll, a timer of `reconcile::commands`
//! ```
//! The rows are the truth: what a device has to do is what they say, whatever a broker has in its queues, and after a restart
//! of the server just as before. `core::command` decides what is sent when; here it is loaded, kept, and told. Nobody sees a
//! payload but the device and whoever may read commands. Refused is a second command under the id of another, and a queue
//! without end.

mod answer;
mod deliver;
mod rows;
pub mod templates;

use std::time::Duration;

use fleetward_base::{CommandId, DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::command::{self as rules, Command, DEFAULT_LANE, OnExpiry, Status};
use fleetward_core::lifecycle;
use fleetward_core::selector::Selector;
use fleetward_store::TenantTx;

use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::registry::load;
use crate::revocation::store_selector;
use crate::{App, Ctx, idempotency};

pub use answer::{AnswerError, Answered, answer};
pub(crate) use deliver::cancel_commands_of;
pub use deliver::{deliver, look_after, poll};
pub use fleetward_store::CommandFilter;

const NO_SUCH: Error = Error::NotFound { what: "command" };
/// What a command that says nothing else gets: a day to wait, a minute to be heard of, an hour to end, five times to be sent.
const LIFE: Duration = Duration::from_secs(24 * 3600);
const ACK_TIMEOUT: Duration = Duration::from_secs(60);
const RUN_TIMEOUT: Duration = Duration::from_secs(3600);
const ATTEMPTS: u32 = 5;
const CONTENT_TYPE: &str = "application/json";
/// Up to so many devices are told at once by whoever sends; the reconciler tells the others.
const TOLD_AT_ONCE: usize = 8;
/// Devices whose command of one id is canceled by one request.
const MOST_CANCELED: usize = 100_000;

/// A command as somebody wants it. What is `None` is as usual.
#[derive(Clone, Default)]
pub struct NewCommand {
    /// Chosen by whoever sends it, so that sending it again is harmless.
    pub id: Option<CommandId>,
    pub op: String,
    pub payload: Vec<u8>,
    pub content_type: Option<String>,
    pub lane: Option<String>,
    pub dedupe: Option<String>,
    /// How long it is kept back: from now, or until then.
    pub wait: Option<Duration>,
    pub not_before: Option<Timestamp>,
    /// How long it may wait for its device, from now.
    pub life: Option<Duration>,
    pub ack_timeout: Option<Duration>,
    pub run_timeout: Option<Duration>,
    pub max_attempts: Option<u32>,
    pub on_expiry: Option<OnExpiry>,
}

impl std::fmt::Debug for NewCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewCommand").field("id", &self.id).field("op", &self.op).finish_non_exhaustive()
    }
}

/// A command with what it carries.
#[derive(Clone)]
pub struct CommandView {
    pub command: Command,
    pub payload: Vec<u8>,
}

/// A command in a list, and how long what it carries is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSummary {
    pub command: Command,
    pub payload_bytes: u64,
}

/// What became of taking a command back from all its devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CancelStatus {
    pub canceled: u64,
    /// At their end, or with the device and not forced.
    pub left: u64,
}

/// Sends a command to every device that `to` means. Under an id that they have it already, with the same content, it is the
/// same command, and nothing is done twice.
///
/// # Errors
/// `NotFound` for a device that is named and not there; `Conflict` (`command-exists`) where the id is that of another,
/// (`command-queue-full`), (`life-cycle`) for a device at its end, (`no-devices`), (`too-many-devices`); `Invalid` with the field.
pub async fn send_command(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    to: Selector,
    new: NewCommand,
) -> Result<Vec<Command>> {
    ctx.allow(tenant, Permission::CommandSend)?;
    let now = app.now();
    let id = new.id.clone().unwrap_or_else(|| CommandId::generate(app.clock().as_ref(), app.rng().as_ref()));
    let (model, payload) = checked(new, id, ctx.principal.actor().name, now)?;
    let (app_in, ctx_in, tenant_in) = (app.clone(), ctx.clone(), tenant.clone());
    app.see_through(async move {
        let sent = put_into_queues(&app_in, ctx_in, &tenant_in, to, model, payload, now).await?;
        if sent.len() > TOLD_AT_ONCE {
            app_in.wake_commands();
        } else {
            for command in &sent {
                deliver(&app_in, &tenant_in, &command.device).await;
            }
        }
        Ok(sent)
    })
    .await
}

async fn put_into_queues(
    app: &App,
    ctx: Ctx,
    tenant: &TenantId,
    to: Selector,
    model: Command,
    payload: Vec<u8>,
    now: Timestamp,
) -> Result<Vec<Command>> {
    let most_kept = identity_policy(app, tenant).await?.commands.kept_per_device;
    let (app_in, ctx_in) = (app.clone(), ctx);
    app.write(tenant, "send command", move |tx| {
        Box::pin(async move {
            let mut model = model;
            let kept: Option<CommandId> = idempotency::replay(&app_in, tx, &ctx_in).await?;
            let fresh = kept.is_none();
            model.id = kept.unwrap_or(model.id);
            let mut sent = Vec::new();
            for device in meant(tx, &to).await? {
                sent.push(queue(tx, &ctx_in, &model, &payload, device, most_kept, now).await?);
            }
            if fresh {
                idempotency::keep(&app_in, tx, &ctx_in, &model.id).await?;
            }
            Ok(sent)
        })
    })
    .await
}

/// One command of a device, with what it carries.
///
/// # Errors
/// `NotFound`.
pub async fn command(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    id: &CommandId,
) -> Result<CommandView> {
    ctx.allow(tenant, Permission::CommandRead)?;
    let (device, id) = (device.clone(), id.clone());
    app.read(tenant, "command", move |tx| {
        Box::pin(async move {
            let row = tx.command(&device, &id).await?.ok_or(NO_SUCH)?;
            let payload = tx.command_payload(&device, &id).await?.ok_or(NO_SUCH)?;
            Ok(CommandView { command: rows::command_of(row)?, payload })
        })
    })
    .await
}

/// A page of the commands of all devices, by id and device, after `after`.
pub async fn commands(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    filter: CommandFilter,
    after: Option<(CommandId, DeviceId)>,
    limit: u32,
) -> Result<Vec<CommandSummary>> {
    ctx.allow(tenant, Permission::CommandRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "commands", move |tx| {
            Box::pin(async move {
                let after = after.as_ref().map(|(id, device)| (id, device));
                Ok(tx.commands(&filter, after, limit).await?)
            })
        })
        .await?;
    rows.into_iter().map(rows::summary_of).collect()
}

/// A page of the commands of one device, the newest first, older than the place `before`.
///
/// # Errors
/// `NotFound` where there is no such device.
pub async fn device_commands(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    status: Option<Status>,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<CommandSummary>> {
    ctx.allow(tenant, Permission::CommandRead)?;
    let (device, limit) = (device.clone(), limit.clamp(1, limits::PAGE_ROWS + 1));
    let rows = app
        .read(tenant, "device commands", move |tx| {
            Box::pin(async move {
                if tx.device(&device).await?.is_none() {
                    return Err(Error::NotFound { what: "device" });
                }
                Ok(tx.device_commands(&device, status.map(Status::as_str), before, limit).await?)
            })
        })
        .await?;
    rows.into_iter().map(rows::summary_of).collect()
}

/// Takes a command back from one device. By force also one that the device may have: it is not told, and its answer does not
/// count any more. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`command-in-flight`), (`command-ended`).
pub async fn cancel_command(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    id: &CommandId,
    force: bool,
) -> Result<Command> {
    ctx.allow(tenant, Permission::CommandCancel)?;
    let (ctx_in, of, id, now) = (ctx.clone(), device.clone(), id.clone(), app.now());
    let (app_in, tenant, device) = (app.clone(), tenant.clone(), device.clone());
    app.see_through(async move {
        let canceled = app_in.write(&tenant, "cancel command", move |tx| {
            Box::pin(async move {
                let before = rows::command_of(tx.command_for_update(&of, &id).await?.ok_or(NO_SUCH)?)?;
                let Some(after) = rules::cancel(&before, force, now).map_err(|refused| refusal(&refused))? else {
                    return Ok(before);
                };
                deliver::keep(tx, ctx_in.principal.actor(), Some(ctx_in.request_id), &before, &after, now).await?;
                Ok(after)
            })
        });
        let command = canceled.await?;
        // What stood behind it may have waited for it alone.
        deliver(&app_in, &tenant, &device).await;
        Ok(command)
    })
    .await
}

/// Takes a command back from every device that has it, as far as that goes.
///
/// # Errors
/// `NotFound` where no device has it.
pub async fn cancel_everywhere(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &CommandId,
    force: bool,
) -> Result<CancelStatus> {
    ctx.allow(tenant, Permission::CommandCancel)?;
    let (ctx_in, id, now) = (ctx.clone(), id.clone(), app.now());
    let status = app
        .write(tenant, "cancel command", move |tx| {
            Box::pin(async move {
                let filter = CommandFilter { id: Some(id.clone()), ..CommandFilter::default() };
                let mut found = tx.commands(&filter, None, limits::COMMAND_TARGETS).await?;
                if found.is_empty() {
                    return Err(NO_SUCH);
                }
                // One id may have been sent more than once, to other devices each time.
                let (mut page, mut devices) = (found.len(), found.len());
                while page == limits::COMMAND_TARGETS as usize && devices < MOST_CANCELED {
                    let last = found.last().map(|row| (id.clone(), row.device.clone()));
                    let after = last.as_ref().map(|(id, device)| (id, device));
                    let more = tx.commands(&filter, after, limits::COMMAND_TARGETS).await?;
                    (page, devices) = (more.len(), devices + more.len());
                    found.extend(more);
                }
                let mut status = CancelStatus::default();
                for row in found {
                    let Some(row) = tx.command_for_update(&row.device, &id).await? else { continue };
                    let before = rows::command_of(row)?;
                    if let Ok(Some(after)) = rules::cancel(&before, force, now) {
                        deliver::keep(tx, ctx_in.principal.actor(), Some(ctx_in.request_id), &before, &after, now)
                            .await?;
                        status.canceled += 1;
                    } else {
                        status.left += 1;
                    }
                }
                Ok(status)
            })
        })
        .await?;
    app.wake_commands();
    Ok(status)
}

fn refusal(refused: &rules::Refused) -> Error {
    match refused {
        rules::Refused::InFlight(_) => Error::conflict("command-in-flight", refused.to_string()),
        rules::Refused::VersionMismatch { expected, found } => Error::Stale { expected: *expected, found: *found },
        rules::Refused::Terminal(_) | rules::Refused::InvalidTransition { .. } => {
            Error::conflict("command-ended", refused.to_string())
        }
        rules::Refused::BadReason => Error::invalid("reason", refused.to_string()),
        rules::Refused::LongResult => Error::invalid("result", refused.to_string()),
    }
}

/// The devices that are meant, by name.
async fn meant(tx: &mut TenantTx, to: &Selector) -> Result<Vec<DeviceId>> {
    let found = tx.selected_devices(&store_selector(to), "", limits::COMMAND_TARGETS + 1).await?;
    if found.len() > limits::COMMAND_TARGETS as usize {
        let reason = format!("more than {} devices; make that a job", limits::COMMAND_TARGETS);
        return Err(Error::conflict("too-many-devices", reason));
    }
    if found.len() < to.devices.len() && *to == (Selector { devices: to.devices.clone(), ..Selector::default() }) {
        return Err(Error::NotFound { what: "device" });
    }
    // One that is named and at its end is an error; one that a group still has is none of it.
    let gone = lifecycle::Status::Decommissioned.as_str();
    let meant: Vec<_> =
        found.into_iter().filter(|row| row.status != gone || to.devices.contains(&row.device)).collect();
    if meant.is_empty() {
        return Err(Error::conflict("no-devices", "no device is meant"));
    }
    Ok(meant.into_iter().map(|row| row.device).collect())
}

/// Puts the command into the queue of one device, or finds it there.
async fn queue(
    tx: &mut TenantTx,
    ctx: &Ctx,
    model: &Command,
    payload: &[u8],
    device: DeviceId,
    most_kept: u32,
    now: Timestamp,
) -> Result<Command> {
    // The lock on the device keeps its places in order.
    let record = load(tx, &device).await?;
    if let Some(row) = tx.command(&device, &model.id).await? {
        let there = rows::command_of(row)?;
        let carried = tx.command_payload(&device, &model.id).await?.unwrap_or_default();
        let same = (&there.op, &there.content_type, &there.lane, &there.dedupe)
            == (&model.op, &model.content_type, &model.lane, &model.dedupe);
        if same && carried == payload {
            return Ok(there);
        }
        return Err(Error::conflict("command-exists", format!("{device} has another command {}", model.id)));
    }
    if record.status == lifecycle::Status::Decommissioned {
        return Err(Error::conflict("life-cycle", format!("{device} is decommissioned")));
    }
    let mut tail = tx.command_tail(&device).await?;
    let new = Command { device, seq: tail.last_seq.saturating_add(1), ..model.clone() };
    if new.dedupe.is_some() {
        for row in tx.open_commands(&new.device).await? {
            let older = rows::command_of(row)?;
            if let Some(gone) = rules::supersede(&older, &new, now) {
                deliver::keep(tx, ctx.principal.actor(), Some(ctx.request_id), &older, &gone, now).await?;
                tail.open = tail.open.saturating_sub(1);
            }
        }
    }
    if tail.open >= u64::from(limits::COMMANDS_QUEUED) {
        let reason = format!("{} commands wait for {} already", tail.open, new.device);
        return Err(Error::conflict("command-queue-full", reason));
    }
    let due = Some(new.not_before.map_or(now, |hour| hour.max(now)).min(new.expires_at));
    tx.insert_command(&rows::row_of(&new, payload.len() as u64, due), payload).await?;
    tx.trim_commands(&new.device, most_kept).await?;
    deliver::journal(tx, ctx.principal.actor(), Some(ctx.request_id), None, &new, now).await?;
    Ok(new)
}

/// The command with all that it needs, but for its device and its place.
fn checked(new: NewCommand, id: CommandId, by: String, now: Timestamp) -> Result<(Command, Vec<u8>)> {
    let name = |field: &str, text: &str| {
        let rule = format!("1 to {} of a-z, A-Z, 0-9, -, _ and .", limits::COMMAND_NAME_BYTES);
        if rules::is_name(text) { Ok(()) } else { Err(Error::invalid(field, rule)) }
    };
    let span = |field: &str, given: Option<Duration>, usual: Duration, most: Duration| {
        let span = given.unwrap_or(usual);
        let good = !span.is_zero() && span <= most;
        good.then_some(span).ok_or_else(|| Error::invalid(field, format!("1 to {} seconds", most.as_secs())))
    };
    name("op", &new.op)?;
    let lane = new.lane.unwrap_or_else(|| DEFAULT_LANE.to_owned());
    name("lane", &lane)?;
    if let Some(dedupe) = &new.dedupe {
        name("dedupe", dedupe)?;
    }
    let content_type = new.content_type.unwrap_or_else(|| CONTENT_TYPE.to_owned());
    if !rules::is_content_type(&content_type) {
        return Err(Error::invalid("content_type", "a media type such as application/json"));
    }
    if new.payload.len() > limits::COMMAND_PAYLOAD_BYTES {
        return Err(Error::TooLarge { what: "the payload", limit: limits::COMMAND_PAYLOAD_BYTES as u64 });
    }
    let max_attempts = new.max_attempts.unwrap_or(ATTEMPTS);
    if !(1..=limits::COMMAND_ATTEMPTS).contains(&max_attempts) {
        return Err(Error::invalid("max_attempts", format!("1 to {}", limits::COMMAND_ATTEMPTS)));
    }
    let expires_at = now.plus(span("ttl_s", new.life, LIFE, limits::COMMAND_LIFE)?);
    let (field, not_before) = match (new.wait.filter(|wait| !wait.is_zero()), new.not_before) {
        (Some(_), Some(_)) => return Err(Error::invalid("not_before", "either this or wait_s")),
        (Some(wait), None) => ("wait_s", Some(now.plus(wait))),
        // What is over is no hour to wait for.
        (None, hour) => ("not_before", hour.filter(|hour| *hour > now)),
    };
    if not_before.is_some_and(|hour| hour >= expires_at) {
        return Err(Error::invalid(field, "sooner than ttl_s is over"));
    }
    let command = Command {
        id,
        device: nobody()?,
        seq: 0,
        op: new.op,
        content_type,
        lane,
        dedupe: new.dedupe,
        not_before,
        expires_at,
        ack_timeout: span("ack_timeout_s", new.ack_timeout, ACK_TIMEOUT, limits::COMMAND_TIMEOUT)?,
        run_timeout: span("run_timeout_s", new.run_timeout, RUN_TIMEOUT, limits::COMMAND_TIMEOUT)?,
        max_attempts,
        on_expiry: new.on_expiry.unwrap_or(OnExpiry::Continue),
        status: Status::Queued,
        attempts: 0,
        reason: None,
        result: None,
        version: 1,
        created_by: by,
        created_at: now,
        sent_at: None,
        started_at: None,
        updated_at: now,
        finished_at: None,
    };
    Ok((command, new.payload))
}

/// Stands where a device will.
fn nobody() -> Result<DeviceId> {
    "-".parse().map_err(Error::internal)
}
