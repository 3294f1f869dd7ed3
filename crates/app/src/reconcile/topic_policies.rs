//! Follows what other servers on the same database did to topic policies: sessions here are held against it.

use std::collections::HashMap;

use fleetward_base::TenantId;
use fleetward_store::SystemTx;
use parking_lot::Mutex;

use crate::App;
use crate::error::{Error, Result};

/// How often each tenant's policies had been changed at the last look.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Option<HashMap<TenantId, u64>>>);

/// One look; how many tenants had something new. The first one only remembers.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<usize> {
    let generations = app
        .store()
        .system_read("topic policies", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.topic_policy_generations().await?) })
        })
        .await?;
    let now: HashMap<TenantId, u64> =
        generations.into_iter().filter_map(|of| of.tenant.map(|tenant| (tenant, of.row.0))).collect();
    let Some(before) = app.topic_policies_seen().0.lock().replace(now.clone()) else { return Ok(0) };
    let changed: Vec<&TenantId> = now.keys().filter(|tenant| now.get(*tenant) != before.get(*tenant)).collect();
    for tenant in &changed {
        app.topic_rights().forget(tenant);
        if let Some(links) = app.links() {
            links.recheck_all(tenant);
        }
    }
    Ok(changed.len())
}
