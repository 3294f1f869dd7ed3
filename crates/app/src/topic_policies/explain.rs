//! Why a device may do something with a topic, or may not. Nothing is done: operators ask before a device does.

use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::{is_filter, is_name};
use fleetward_core::access::{DeviceRights, Permission};
use fleetward_core::topic_policy::{Act, Judged, LeftOut, Origin};

use super::rights::compile;
use crate::enroll::rights_now;
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::{App, Ctx};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub device: DeviceId,
    pub act: Act,
    /// A filter where the act is to subscribe; empty for `connect`.
    pub topic: String,
    /// The certificate of the connection; the one that the device uses now unless said.
    pub serial: Option<String>,
}

/// What decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// A statement of a policy.
    Statement(Origin),
    /// A rule of `docs/topics.md`.
    BuiltIn,
    /// Nothing allows it.
    Nothing,
    /// The device may not come in at all, by its life cycle or its attestation.
    NotAdmitted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub allowed: bool,
    pub because: Because,
    /// What the device has at present: all, or what is left in quarantine.
    pub rights: Option<DeviceRights>,
    /// Templates that do not count for this device as they are written.
    pub left_out: Vec<LeftOut>,
}

/// Answers as the door would.
///
/// # Errors
/// `NotFound` for the device; `Invalid` (`topic`); `Unavailable` before the devices' door is open.
pub async fn explain_topic(app: &App, ctx: &Ctx, tenant: &TenantId, question: Question) -> Result<Answer> {
    ctx.allow(tenant, Permission::TopicPolicyRead)?;
    let Question { device, act, topic, serial } = question;
    let links = app.links().ok_or(Error::Unavailable { what: "the devices' door" })?;
    let topic = asked(act, &topic)?;
    let policy = identity_policy(app, tenant).await?;
    let (tenant_in, device_in) = (tenant.clone(), device.clone());
    let (rights, compiled) = app
        .read(tenant, "explain topic", {
            let app = app.clone();
            move |tx| {
                Box::pin(async move {
                    let row = tx.device(&device_in).await?.ok_or(Error::NotFound { what: "device" })?;
                    let serial = serial.or(row.certificate_serial).unwrap_or_default();
                    let rights = rights_now(&app, &tenant_in, tx, &policy, &device_in, app.now()).await?;
                    Ok((rights, compile(tx, &tenant_in, &device_in, &serial).await?.unwrap_or_default()))
                })
            }
        })
        .await?;
    let left_out = compiled.left_out().to_vec();
    let Some(rights) = rights else {
        return Ok(Answer { allowed: false, because: Because::NotAdmitted, rights: None, left_out });
    };
    let built_in = |act| act == Act::Connect || links.built_in(rights, &device, act, topic);
    let judged = compiled.judge(act, topic, device.as_str(), rights == DeviceRights::Full, built_in);
    let because = match judged {
        Judged::Denied(by) | Judged::Allowed(by) => Because::Statement(by.clone()),
        Judged::BuiltIn => Because::BuiltIn,
        Judged::Nothing => Because::Nothing,
    };
    Ok(Answer { allowed: judged.is_allowed(), because, rights: Some(rights), left_out })
}

/// The topic as it is judged: of a shared subscription, what is shared.
fn asked(act: Act, topic: &str) -> Result<&str> {
    let good = match act {
        Act::Connect => topic.is_empty(),
        Act::Subscribe => is_filter(topic),
        Act::Publish | Act::Retain | Act::Receive => is_name(topic),
    };
    if !good {
        return Err(Error::invalid("topic", "not a topic; a filter where it subscribes; nothing where it connects"));
    }
    let shared = topic.strip_prefix("$share/").and_then(|rest| rest.split_once('/')).filter(|_| act == Act::Subscribe);
    Ok(shared.map_or(topic, |(_, inner)| inner))
}
