//! Follows what other servers on the same database did to token services: one that was switched off, removed or given other
//! keys, and a policy that takes tokens no more.
//!
//! Whoever changes that has its own sessions asked after at once ([`crate::token_issuers`]). The others see here that
//! something changed, forget what they remember, and ask after every session of the tenant.

use std::collections::HashMap;

use fleetward_base::TenantId;
use fleetward_store::{SystemTx, TokenIssuerMark};
use parking_lot::Mutex;

use crate::App;
use crate::error::{Error, Result};
use crate::identity_policy::forget_policies;

/// What was seen last.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Option<HashMap<TenantId, TokenIssuerMark>>>);

/// One look; how many tenants had something new. The first one only remembers.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<usize> {
    let marks = app
        .store()
        .system_read("token issuers", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.token_issuer_marks().await?) })
        })
        .await?;
    let now: HashMap<TenantId, TokenIssuerMark> =
        marks.into_iter().filter_map(|of| of.tenant.map(|tenant| (tenant, of.row))).collect();
    let Some(before) = app.token_issuers_seen().0.lock().replace(now.clone()) else { return Ok(0) };
    let tenants = now.keys().chain(before.keys().filter(|tenant| !now.contains_key(*tenant)));
    let changed: Vec<&TenantId> = tenants.filter(|tenant| now.get(*tenant) != before.get(*tenant)).collect();
    if changed.is_empty() {
        return Ok(0);
    }
    forget_policies(app);
    for tenant in &changed {
        app.token_keys().forget_all(tenant);
        if let Some(links) = app.links() {
            links.recheck_all(tenant);
        }
    }
    Ok(changed.len())
}
