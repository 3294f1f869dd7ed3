//! Calling a method of a device: it does something now, and says what came of it.

use std::time::Duration;

use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_core::journal::Outcome::{Done, Failed, Refused};
use fleetward_store::TenantTx;
use fleetward_wire::azure::hub::{is_method_name, method_call};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Called, Ctx, MethodCall, idempotency};

/// What a device is to do.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCall {
    pub name: String,
    pub payload: Value,
    /// How long it may take; the default where there is none.
    pub deadline: Option<Duration>,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device's own number and words.
    Answered { status: i32, payload: Bytes },
    /// It has the call, and has not answered in time: whether it did anything is not known.
    Silent,
}

/// Calls a method of a device that is connected and takes calls.
///
/// # Errors
/// `Invalid`; `NotFound` where there is no such device, or it is not connected or takes no calls; `TooMany`.
pub async fn call_method(app: &App, ctx: &Ctx, tenant: &TenantId, id: &DeviceId, new: NewCall) -> Result<Outcome> {
    ctx.allow(tenant, Permission::MethodCall)?;
    let deadline = new.deadline.unwrap_or(limits::METHOD_DEADLINE_DEFAULT);
    check(&new, deadline)?;
    let payload = Bytes::from(new.payload.to_string());
    if payload.len() > limits::MQTT_PAYLOAD_BYTES {
        return Err(Error::TooLarge { what: "the payload", limit: limits::MQTT_PAYLOAD_BYTES as u64 });
    }
    let call = MethodCall { name: new.name, id: ctx.request_id.to_string(), payload, deadline };
    let topic = method_call(&call.name, &call.id);
    let links = app.links().filter(|links| links.listens(tenant, id, &topic) == Some(true));
    let (app_in, ctx_in, id_in, now, there) = (app.clone(), ctx.clone(), id.clone(), app.now(), links.is_some());
    let detail = json!({ "method": call.name, "call": call.id, "bytes": call.payload.len() });
    app.write(tenant, "call method", move |tx| {
        Box::pin(async move {
            if tx.device(&id_in).await?.is_none() {
                return Err(Error::NotFound { what: "device" });
            }
            if !there {
                return Err(not_there());
            }
            once(&app_in, tx, &ctx_in).await?;
            let entry = ctx_in.done(now, Action::MethodCalled).device(&id_in).detail(detail);
            record(tx, &entry).await?;
            Ok(())
        })
    })
    .await?;
    let Some(links) = links else { return Err(not_there()) };
    let mut detail = json!({ "method": call.name, "call": call.id });
    let called = links.call(tenant, id, call).await;
    let (answer, word, outcome) = match called {
        Called::Answered { status, payload } => {
            note(&mut detail, "status", status.into());
            (Ok(Outcome::Answered { status, payload }), "answered", Done)
        }
        Called::Silent => (Ok(Outcome::Silent), "silent", Failed),
        Called::NotThere => (Err(not_there()), "not-there", Failed),
        Called::TooMany => {
            let retry_after = Duration::from_secs(1);
            (Err(Error::TooMany { what: "calls of methods", retry_after }), "too-many", Refused)
        }
    };
    note(&mut detail, "outcome", word.into());
    let entry = ctx.done(app.now(), Action::MethodAnswered).device(id).outcome(outcome).detail(detail);
    app.write(tenant, "method answered", move |tx| Box::pin(async move { record(tx, &entry).await.map(drop) })).await?;
    answer
}

/// A call is made once under one key, also where its answer was lost: the device would do it again.
async fn once(app: &App, tx: &mut TenantTx, ctx: &Ctx) -> Result<()> {
    if idempotency::replay::<()>(app, tx, ctx).await?.is_some() {
        let reason = "the call was made under this Idempotency-Key; the journal says what came of it";
        return Err(Error::conflict("call-made", reason));
    }
    idempotency::keep(app, tx, ctx, &()).await
}

fn check(new: &NewCall, deadline: Duration) -> Result<()> {
    if !is_method_name(&new.name) {
        return Err(Error::invalid("method", "1 to 64 of a-z, A-Z, 0-9 and $-_.+!*'(),~"));
    }
    if deadline < Duration::from_secs(1) || deadline > limits::METHOD_DEADLINE {
        let most = limits::METHOD_DEADLINE.as_secs();
        return Err(Error::invalid("timeout_s", format!("1 to {most} seconds")));
    }
    Ok(())
}

fn not_there() -> Error {
    Error::NotFound { what: "connection of the device that takes calls of methods" }
}

fn note(detail: &mut Value, key: &str, value: Value) {
    if let Some(fields) = detail.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
}
