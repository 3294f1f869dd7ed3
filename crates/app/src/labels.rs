//! Labels: keys and values that people write on things that are no devices. Nothing is decided by them. AWS calls them tags.

use std::collections::BTreeMap;

use fleetward_base::{JobId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_store::{LabelsRow, TenantTx};
use serde_json::json;

use crate::error::{Error, Result, check_line, check_note};
use crate::journal::record;
use crate::{App, Ctx};

/// On what they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Type,
    Group,
    Template,
    Policy,
    Job,
    Command,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Group => "group",
            Self::Template => "template",
            Self::Policy => "policy",
            Self::Job => "job",
            Self::Command => "command",
        }
    }

    /// # Errors
    /// `Invalid` where it is none of them.
    pub fn parse(text: &str) -> Result<Self> {
        [Self::Type, Self::Group, Self::Template, Self::Policy, Self::Job, Self::Command]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Error::invalid("kind", "type, group, template, policy, job or command"))
    }
}

/// What stands on it; nothing where nobody wrote anything.
///
/// # Errors
/// `NotFound` for what they would stand on.
pub async fn labels(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    kind: Kind,
    name: &str,
) -> Result<BTreeMap<String, String>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let name = name.to_owned();
    app.read(tenant, "labels", move |tx| {
        Box::pin(async move {
            must_be(tx, kind, &name).await?;
            load(tx, kind, &name).await
        })
    })
    .await
}

/// Writes labels key by key; `None` takes one away.
///
/// # Errors
/// `Invalid` (`labels`); `NotFound` for what they would stand on.
pub async fn set_labels(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    kind: Kind,
    name: &str,
    changes: BTreeMap<String, Option<String>>,
) -> Result<BTreeMap<String, String>> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    check_line("name", name, limits::LABEL_BYTES)?;
    for (key, value) in &changes {
        check_line("labels", key, limits::LABEL_BYTES)?;
        check_note("labels", value.as_deref().unwrap_or_default(), limits::LABEL_BYTES)?;
    }
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "set labels", move |tx| {
        Box::pin(async move {
            must_be(tx, kind, &name).await?;
            let before = load(tx, kind, &name).await?;
            let mut after = before.clone();
            for (key, value) in changes {
                match value {
                    Some(value) => after.insert(key, value),
                    None => after.remove(&key),
                };
            }
            if after == before {
                return Ok(after);
            }
            if after.len() > limits::LABELS {
                return Err(Error::invalid("labels", format!("more than {}", limits::LABELS)));
            }
            let text = serde_json::to_string(&after).map_err(Error::internal)?;
            let row = LabelsRow { kind: kind.as_str().to_owned(), name: name.clone(), labels: text, updated_at: now };
            tx.put_labels(&row).await?;
            let entry = ctx_in.done(now, Action::LabelsChanged).subject(&name);
            record(tx, &entry.detail(json!({ "kind": kind.as_str(), "count": after.len() }))).await?;
            Ok(after)
        })
    })
    .await
}

/// Takes all labels away, with the thing that they stand on.
pub async fn forget_labels(app: &App, ctx: &Ctx, tenant: &TenantId, kind: Kind, name: &str) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let name = name.to_owned();
    app.write(tenant, "forget labels", move |tx| {
        Box::pin(async move {
            // What they stood on is gone, and has its line.
            tx.remove_labels(kind.as_str(), &name).await?;
            Ok(())
        })
    })
    .await
}

/// Nothing stands on what is not there.
async fn must_be(tx: &mut TenantTx, kind: Kind, name: &str) -> Result<()> {
    let there = match kind {
        Kind::Type => tx.device_type(name).await?.is_some(),
        Kind::Group => tx.device_group(name).await?.is_some(),
        Kind::Template => tx.template(name).await?.is_some(),
        Kind::Policy => tx.topic_policy(name).await?.is_some(),
        Kind::Job => match name.parse::<JobId>() {
            Ok(id) => tx.job(&id).await?.is_some(),
            Err(_) => false,
        },
        Kind::Command => tx.command_template(name).await?.is_some(),
    };
    if there { Ok(()) } else { Err(Error::NotFound { what: kind.as_str() }) }
}

async fn load(tx: &mut TenantTx, kind: Kind, name: &str) -> Result<BTreeMap<String, String>> {
    let row = tx.labels(kind.as_str(), name).await?;
    row.map_or_else(|| Ok(BTreeMap::new()), |row| serde_json::from_str(&row.labels).map_err(Error::internal))
}
