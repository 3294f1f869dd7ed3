//! What is forgotten after its time: certificates that nobody owned (which are revoked), codes, claims of trusted users,
//! devices that nobody claimed.

use fleetward_base::{Timestamp, limits};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_store::TenantTx;
use serde_json::json;

use crate::error::Result;
use crate::journal::record;

/// Forgets in one tenant what is over at `now`; how many rows.
pub(crate) async fn forget(tx: &mut TenantTx, now: Timestamp) -> Result<u64> {
    let pending = tx.forget_pending_certificates(now).await?;
    if pending > 0 {
        let entry = Entry::done(now, Actor::system("provisioning"), Action::CertificateForgotten);
        record(tx, &entry.detail(json!({ "count": pending }))).await?;
    }
    let mut count = pending;
    count += tx.forget_registration_codes(now).await?;
    count += tx.forget_claims(super::claims::USER, now.minus(limits::USER_CLAIM_KEPT)).await?;
    count += tx.forget_factory_certificates(now.minus(limits::FACTORY_PENDING_KEPT)).await?;
    count += tx.forget_claim_codes(now.minus(limits::CLAIM_CODE_KEPT)).await?;
    Ok(count)
}
