//! Commands whose moment has come: to be sent, to be sent again, to be given up on, to expire.
//!
//! The moments are in the rows, so that a restart forgets none. Each server looks after the devices that it has a connection
//! to; one that nobody has is looked after by whoever comes first.

use fleetward_base::{DeviceId, TenantId, limits};

use super::or_later;
use crate::App;
use crate::commands::look_after;
use crate::error::{Error, Result};

/// One look at a bounded number of devices; how many commands changed.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<u64> {
    let now = app.now();
    let (mut changed, mut after) = (0, None::<(TenantId, DeviceId)>);
    loop {
        let from = after.take();
        let due = app
            .store()
            .system_read("due commands", move |tx| {
                Box::pin(async move {
                    let from = from.as_ref().map(|(tenant, device)| (tenant, device));
                    Ok::<_, Error>(tx.due_commands(now, from, limits::COMMANDS_PER_TICK).await?)
                })
            })
            .await?;
        let more = due.len() >= limits::COMMANDS_PER_TICK as usize;
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            let looked = look_after(app, &tenant, &of.row).await;
            changed += or_later(app, "commands", Some(&tenant), looked);
            after = Some((tenant, of.row));
        }
        if !more {
            return Ok(changed);
        }
    }
}
