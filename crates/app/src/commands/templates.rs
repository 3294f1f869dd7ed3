//! Commands that are written down once and sent often: an operation by name, with what it carries.
//!
//! What is sent by one carries what stood in it then; a template that is changed or removed later changes nothing of it.
//! The payload never changes: another one is another template.

use fleetward_base::{CommandId, DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::command::{self as rules, Command};
use fleetward_core::journal::Action;
use fleetward_core::selector::Selector;
use fleetward_store::CommandTemplateRow;
use serde_json::json;

use super::{CONTENT_TYPE, NO_SUCH, NewCommand, rows, send_command};
use crate::error::{Error, Result, check_note};
use crate::journal::record;
use crate::{App, Ctx, labels};

const TITLE_BYTES: usize = 256;
const DESCRIPTION_BYTES: usize = 2028;
const NO_TEMPLATE: Error = Error::NotFound { what: "command template" };

/// A command that is written down.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandTemplate {
    /// The operation, in a word that devices know.
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub content_type: String,
    pub payload: Vec<u8>,
    pub deprecated: bool,
    pub created_by: String,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl std::fmt::Debug for CommandTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandTemplate").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A command to be written down.
#[derive(Clone, Default)]
pub struct NewTemplate {
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub content_type: Option<String>,
    pub payload: Vec<u8>,
}

/// What of one can be said anew. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateChange {
    pub title: Option<String>,
    pub description: Option<String>,
    pub deprecated: Option<bool>,
}

fn check(title: Option<&String>, description: Option<&String>) -> Result<()> {
    title.map_or(Ok(()), |text| check_note("title", text, TITLE_BYTES))?;
    description.map_or(Ok(()), |text| check_note("description", text, DESCRIPTION_BYTES))
}

/// Writes a command down. The same again is harmless.
///
/// # Errors
/// `Invalid` with the field; `TooLarge`; `Conflict` (`command-template-exists` where it says something else,
/// `command-templates-full`).
pub async fn create_command_template(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    new: NewTemplate,
) -> Result<CommandTemplate> {
    ctx.allow(tenant, Permission::CommandManage)?;
    check(new.title.as_ref(), new.description.as_ref())?;
    if !rules::is_name(&new.name) {
        let rule = format!("1 to {} of a-z, A-Z, 0-9, -, _ and .", limits::COMMAND_NAME_BYTES);
        return Err(Error::invalid("name", rule));
    }
    let content_type = new.content_type.unwrap_or_else(|| CONTENT_TYPE.to_owned());
    if !rules::is_content_type(&content_type) {
        return Err(Error::invalid("content_type", "a media type such as application/json"));
    }
    if new.payload.len() > limits::COMMAND_PAYLOAD_BYTES {
        return Err(Error::TooLarge { what: "the payload", limit: limits::COMMAND_PAYLOAD_BYTES as u64 });
    }
    let (now, ctx_in) = (app.now(), ctx.clone());
    let row = CommandTemplateRow {
        name: new.name,
        title: new.title,
        description: new.description,
        content_type,
        payload: new.payload,
        deprecated: false,
        created_by: ctx.principal.actor().name,
        revision: 1,
        created_at: now,
        updated_at: now,
    };
    let kept = app.write(tenant, "create command template", move |tx| {
        Box::pin(async move {
            if let Some(known) = tx.command_template(&row.name).await? {
                let same = (&known.title, &known.description, &known.content_type, &known.payload)
                    == (&row.title, &row.description, &row.content_type, &row.payload);
                let reason = || format!("the command template {} exists with other values", row.name);
                return if same { Ok(known) } else { Err(Error::conflict("command-template-exists", reason())) };
            }
            if tx.count_command_templates().await? >= limits::COMMAND_TEMPLATES {
                let reason = format!("there are {} command templates already", limits::COMMAND_TEMPLATES);
                return Err(Error::conflict("command-templates-full", reason));
            }
            if !tx.insert_command_template(&row).await? {
                let reason = format!("the command template {} exists", row.name);
                return Err(Error::conflict("command-template-exists", reason));
            }
            let entry = ctx_in.done(now, Action::CommandTemplateCreated).subject(&row.name);
            record(tx, &entry.detail(json!({ "bytes": row.payload.len() }))).await?;
            Ok(row)
        })
    });
    Ok(template_of(kept.await?))
}

/// One that is written down.
///
/// # Errors
/// `NotFound`.
pub async fn command_template(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<CommandTemplate> {
    ctx.allow(tenant, Permission::CommandRead)?;
    let name = name.to_owned();
    let row = app.read(tenant, "command template", move |tx| {
        Box::pin(async move { tx.command_template(&name).await?.ok_or(NO_TEMPLATE) })
    });
    row.await.map(template_of)
}

/// A page of them, by name, after `after`.
pub async fn command_templates(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<CommandTemplate>> {
    ctx.allow(tenant, Permission::CommandRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app.read(tenant, "command templates", move |tx| {
        Box::pin(async move { Ok(tx.command_templates(after.as_deref(), limit).await?) })
    });
    Ok(rows.await?.into_iter().map(template_of).collect())
}

/// Says something else of one that is still at `expected`; where that is not said, whatever it is at.
///
/// # Errors
/// `NotFound`, `Stale`, `Invalid` with the field.
pub async fn amend_command_template(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    expected: Option<u64>,
    change: TemplateChange,
) -> Result<CommandTemplate> {
    ctx.allow(tenant, Permission::CommandManage)?;
    check(change.title.as_ref(), change.description.as_ref())?;
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    let row = app.write(tenant, "amend command template", move |tx| {
        Box::pin(async move {
            let before = tx.command_template(&name).await?.ok_or(NO_TEMPLATE)?;
            let found = before.revision;
            let expected = expected.unwrap_or(found);
            let row = CommandTemplateRow {
                title: change.title.or_else(|| before.title.clone()),
                description: change.description.or_else(|| before.description.clone()),
                deprecated: change.deprecated.unwrap_or(before.deprecated),
                revision: expected + 1,
                updated_at: now,
                ..before
            };
            if !tx.update_command_template(&row, expected).await? {
                return Err(Error::Stale { expected, found });
            }
            let entry = ctx_in.done(now, Action::CommandTemplateUpdated).subject(&name);
            record(tx, &entry.detail(json!({ "deprecated": row.deprecated }))).await?;
            Ok(row)
        })
    });
    row.await.map(template_of)
}

/// Takes one away. What was sent by it goes on.
///
/// # Errors
/// `NotFound`, `Stale`.
pub async fn remove_command_template(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    expected: Option<u64>,
) -> Result<()> {
    ctx.allow(tenant, Permission::CommandManage)?;
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "remove command template", move |tx| {
        Box::pin(async move {
            let found = tx.command_template(&name).await?.ok_or(NO_TEMPLATE)?.revision;
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return Err(Error::Stale { expected, found });
            }
            tx.remove_command_template(&name).await?;
            tx.remove_labels(labels::Kind::Command.as_str(), &name).await?;
            record(tx, &ctx_in.done(now, Action::CommandTemplateRemoved).subject(&name)).await?;
            Ok(())
        })
    })
    .await
}

/// Sends what is written down under a name to a device. What `how` says of operation and payload does not count.
///
/// # Errors
/// `NotFound` for the template and the device; `Conflict` (`command-template-deprecated`), and as for [`send_command`].
pub async fn send_template(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    (name, device): (&str, &DeviceId),
    how: NewCommand,
) -> Result<Command> {
    ctx.allow(tenant, Permission::CommandSend)?;
    let name_in = name.to_owned();
    let row = app.read(tenant, "template to send", move |tx| {
        Box::pin(async move { tx.command_template(&name_in).await?.ok_or(NO_TEMPLATE) })
    });
    let row = row.await?;
    if row.deprecated {
        return Err(Error::conflict("command-template-deprecated", format!("nothing is sent by {name} any more")));
    }
    let to = Selector { devices: [device.clone()].into(), ..Selector::default() };
    let CommandTemplateRow { name, content_type, payload, .. } = row;
    let new = NewCommand { op: name, content_type: Some(content_type), payload, ..how };
    let sent = send_command(app, ctx, tenant, to, new).await?;
    sent.into_iter().next().ok_or(Error::NotFound { what: "device" })
}

/// Forgets a command of a device that nothing can follow.
///
/// # Errors
/// `NotFound`; `Conflict` (`command-open`).
pub async fn delete_command(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId, id: &CommandId) -> Result<()> {
    ctx.allow(tenant, Permission::CommandCancel)?;
    let (now, ctx_in, device, id) = (app.now(), ctx.clone(), device.clone(), id.clone());
    app.write(tenant, "delete command", move |tx| {
        Box::pin(async move {
            let command = rows::command_of(tx.command_for_update(&device, &id).await?.ok_or(NO_SUCH)?)?;
            if !command.is_terminal() || !tx.delete_command(&device, &id).await? {
                return Err(Error::conflict("command-open", "something can still follow; take it back first"));
            }
            let entry = ctx_in.done(now, Action::CommandDeleted).device(&device).subject(&id);
            record(tx, &entry.detail(json!({ "op": command.op, "status": command.status.as_str() }))).await?;
            Ok(())
        })
    })
    .await
}

fn template_of(row: CommandTemplateRow) -> CommandTemplate {
    CommandTemplate {
        name: row.name,
        title: row.title,
        description: row.description,
        content_type: row.content_type,
        payload: row.payload,
        deprecated: row.deprecated,
        created_by: row.created_by,
        revision: row.revision,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}
