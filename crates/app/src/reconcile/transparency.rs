//! Puts every certificate into the log of its tenant.
//!
//! It finds them by what they lack, a place, so that none is passed over, whichever server issued it and whatever died.

use fleetward_base::limits;
use fleetward_store::SystemTx;

use super::or_later;
use crate::App;
use crate::error::{Error, Result};
use crate::transparency;

/// Batches of one tenant in one turn; the rest waits for the next.
const BATCHES: usize = 64;

/// One turn; how many certificates got their place.
///
/// # Errors
/// Where the store does not answer. A tenant whose key does not open does not hold up the others.
pub async fn tick(app: &App) -> Result<usize> {
    let tenants = app
        .store()
        .system_read("unlogged certificates", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.unlogged_tenants().await?) })
        })
        .await?;
    let mut logged = 0;
    for tenant in tenants {
        for _ in 0..BATCHES {
            let rows = or_later(app, "transparency", Some(&tenant), transparency::append(app, &tenant).await);
            logged += rows;
            if u32::try_from(rows).is_ok_and(|rows| rows < limits::TRANSPARENCY_BATCH) {
                break;
            }
        }
    }
    Ok(logged)
}
