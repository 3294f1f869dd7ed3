//! Revoking a device: every certificate, its right to connect, and its live sessions.

use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::lifecycle::{self, Transition};
use serde_json::json;

use super::change::{load, store_status};
use super::read::{DeviceView, device};
use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx, EndReason};

/// Revokes every certificate and unused token of the device and suspends it; a new enrolment token brings it back. Its live sessions end
/// right after the commit. Asking twice is harmless.
///
/// # Errors
/// `Invalid` (`reason`); `NotFound`; `Conflict` (`life-cycle`) for a device at its end, which has nothing left to revoke.
pub async fn revoke_device(app: &App, ctx: &Ctx, tenant: &TenantId, id: &DeviceId, reason: &str) -> Result<DeviceView> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    check_line("reason", reason, limits::REVOCATION_REASON_BYTES)?;
    let now = app.now();
    let (ctx_in, id_in, reason) = (ctx.clone(), id.clone(), reason.to_owned());
    app.write(tenant, "revoke device", move |tx| {
        Box::pin(async move {
            let before = load(tx, &id_in).await?;
            let status = lifecycle::decide(before.status, Transition::Suspend)
                .map_err(|refused| Error::conflict("life-cycle", refused.to_string()))?;
            let revoked = tx.revoke_certificates(&id_in, &reason, now).await?.len();
            // A token that is still about would undo it.
            let tokens = tx.revoke_enroll_tokens(&id_in, now).await?;
            if revoked == 0 && tokens == 0 && status == before.status {
                return Ok(());
            }
            store_status(tx, &before, status, now).await?;
            let detail = json!({
                "from": before.status.as_str(),
                "to": status.as_str(),
                "certificates": revoked,
                "tokens": tokens,
                "reason": reason,
            });
            let entry = ctx_in.done(now, Action::DeviceRevoked).device(&id_in).severity(Severity::Warning);
            record(tx, &entry.detail(detail)).await?;
            Ok(())
        })
    })
    .await?;
    app.forget_answers(tenant);
    if let Some(links) = app.links() {
        links.end_sessions(tenant, id, EndReason::Administrative);
    }
    device(app, ctx, tenant, id).await
}
